//! Tests the W3C and X-Ray formats, refused input, and the conversion between the two.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::testing::SequentialRandom;

/// The examples of the specification, and of X-Ray's documentation.
const W3C: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

#[rstest]
#[case::sampled(W3C)]
#[case::not_sampled("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")]
#[case::small("00-00000000000000000000000000000001-0000000000000001-00")]
fn traceparent_is_read_and_written_as_it_was(#[case] text: &str) {
    assert_eq!(text.parse::<TraceParent>().unwrap().to_string(), text);
}

#[rstest]
#[case::unknown_flags("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff", true)]
#[case::other_flags_alone("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02", false)]
#[case::later_version("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true)]
#[case::later_version_with_more(
    "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future",
    true
)]
fn what_level_1_does_not_know_is_passed_over(#[case] text: &str, #[case] sampled: bool) {
    let read: TraceParent = text.parse().unwrap();
    let flags = if sampled { "01" } else { "00" };
    assert_eq!(read.to_string(), format!("{}{flags}", &W3C[..W3C.len() - 2]));
}

#[rstest]
#[case::empty("")]
#[case::version_ff("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
#[case::version_00_with_more("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")]
#[case::later_version_run_on("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more")]
#[case::zero_trace("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
#[case::zero_parent("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")]
#[case::upper_case("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")]
#[case::short_trace("00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01")]
#[case::long_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033310-01")]
#[case::sign("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
#[case::no_flags("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")]
#[case::space(" 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
#[case::not_ascii("00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01")]
fn malformed_traceparent_is_refused(#[case] text: &str) {
    assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent));
}

#[test]
fn xray_header_becomes_the_same_trace_and_back() {
    let trace = TraceParent::from_xray(XRAY, &SequentialRandom::default()).unwrap();
    assert_eq!(trace.to_string(), "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
    assert_eq!(trace.to_xray(), XRAY);
    assert_eq!(trace.xray_root(), "1-5759e988-bd862e3fe1be46a994272793");
    assert_eq!(trace_id_of_xray(XRAY), Some(trace.trace_id()));
}

#[rstest]
#[case::no_parent("Root=1-5759e988-bd862e3fe1be46a994272793")]
#[case::broken_parent("Parent=x; Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=?")]
#[case::lineage("Lineage=1:2:3;Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")]
fn xray_header_without_a_parent_gets_a_new_one(#[case] header: &str) {
    let random = SequentialRandom::default();
    let (one, other) =
        (TraceParent::from_xray(header, &random).unwrap(), TraceParent::from_xray(header, &random).unwrap());
    assert!(one.is_of_the_trace_of(other));
    assert_ne!(one, other);
    assert!(one.to_string().ends_with("-00"), "{one}");
}

#[rstest]
#[case::nothing("")]
#[case::other_version("Root=2-5759e988-bd862e3fe1be46a994272793")]
#[case::short("Root=1-5759e988-bd862e3fe1be46a99427279")]
#[case::zero("Root=1-00000000-000000000000000000000000")]
#[case::no_root("Parent=53995c3f42cd8ad8;Sampled=1")]
fn xray_header_without_a_root_is_no_trace(#[case] header: &str) {
    let random = SequentialRandom::default();
    assert_eq!(TraceParent::from_xray(header, &random), None);
    assert_eq!(trace_id_of_xray(header), None);
    let (one, other) = (TraceParent::begin(Some(header), &random), TraceParent::begin(Some(header), &random));
    assert!(!one.is_of_the_trace_of(other), "each document has a trace of its own");
}

#[test]
fn child_is_of_the_same_trace_and_the_same_again_by_the_same_name() {
    let trace: TraceParent = W3C.parse().unwrap();
    let child = trace.child("1000");
    assert!(child.is_of_the_trace_of(trace));
    assert_ne!(child, trace);
    assert_eq!(child, trace.child("1000"));
    assert_ne!(child, trace.child("1001"));
}

#[rstest]
#[case::absent("{}")]
#[case::null(r#"{"traceparent":null}"#)]
#[case::empty(r#"{"traceparent":""}"#)]
#[case::malformed(r#"{"traceparent":"00-1-1-01"}"#)]
fn field_that_holds_no_trace_is_read_as_none(#[case] json: &str) {
    #[derive(Deserialize)]
    struct Message {
        #[serde(default, deserialize_with = "optional")]
        traceparent: Option<TraceParent>,
    }
    assert_eq!(serde_json::from_str::<Message>(json).unwrap().traceparent, None);
    let whole = format!(r#"{{"traceparent":"{W3C}"}}"#);
    assert_eq!(serde_json::from_str::<Message>(&whole).unwrap().traceparent, Some(W3C.parse().unwrap()));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_keeps_its_form(text in ".{0,80}|[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}") {
        if let Ok(read) = text.parse::<TraceParent>() {
            prop_assert_eq!(read.to_string().parse::<TraceParent>(), Ok(read));
            prop_assert_eq!(read.trace_id(), &text[3..35]);
        }
        let _ = trace_id_of_xray(&text);
    }
}
