//! Builds the clients and ports of the functions from their settings, once for each process.

use lectern::{admission::Limits, api::Quota, events::Source};

use crate::{
    AdmissionQueue, AlarmTopic, AuditTrail, CachedSecret, Clients, Config, DynamoDbStore, EventsQueue,
    HttpEndpoints, HttpThirdParty, ObjectsOfSubmissions, ObservedQueues, OptionalEventBus, ReturnedBucket,
    SigningSecretsSource, SourceQueue, StateMachine, UploadDesk, UploadsBucket,
    config::{ConfigError, SignIn},
    http_third_party::ReturnedFileFetcher,
    logging,
    sfn::{DocumentExecutions, ErasureStateMachine, TaskTokens},
};

/// The settings and the clients of a function. Each method reads only the settings of its own port, so that a function
/// does not need settings of ports that it does not use.
#[derive(Clone, Debug)]
pub struct Environment {
    pub(crate) config: Config,
    clients: Clients,
}

impl Environment {
    /// Sets up logging and builds the clients.
    ///
    /// # Errors
    /// If a setting of the log is missing or malformed.
    pub fn load() -> Result<Self, ConfigError> {
        let config = Config::from_env();
        logging::init(config)?;
        Ok(Self { config, clients: Clients::of_function(config)? })
    }

    /// The function's name for its log lines.
    pub fn function_name(&self) -> Result<String, ConfigError> {
        self.config.function_name()
    }

    /// The queue that invokes the function.
    pub fn source_queue(&self) -> Result<SourceQueue, ConfigError> {
        Ok(SourceQueue::new(self.clients.sqs(), self.config.queue_url()?))
    }

    /// The two queues that invoke `deliver-events`.
    pub fn queues_of_deliver_events(&self) -> Result<SourceQueue, ConfigError> {
        Ok(self.source_queue()?.and(self.config.event_timers_queue_url()?))
    }

    /// The dead-letter queue of [`Self::source_queue`].
    pub fn dead_letter_queue_url(&self) -> Result<String, ConfigError> {
        self.config.dead_letter_queue_url()
    }

    /// The state store.
    pub fn store(&self) -> Result<DynamoDbStore, ConfigError> {
        Ok(DynamoDbStore::new(self.clients.dynamodb(), self.config.table_name()?))
    }

    /// The state store of a function that registers or ends documents, whose items then expire.
    pub fn store_with_retention(&self) -> Result<DynamoDbStore, ConfigError> {
        Ok(self.store()?.with_retention(self.config.retention()?))
    }

    /// The audit trail.
    pub fn audit_trail(&self) -> Result<AuditTrail, ConfigError> {
        let trail = AuditTrail::new(self.clients.dynamodb(), self.config.table_name()?);
        Ok(trail.with_retention(self.config.audit_retention()?))
    }

    /// The bucket of uploads.
    pub fn uploads(&self) -> Result<UploadsBucket, ConfigError> {
        Ok(UploadsBucket::new(self.clients.s3()).with_malware_gate(self.config.scans_for_malware()?))
    }

    /// The bucket of uploads, as the API hands it out.
    pub fn upload_desk(&self) -> Result<UploadDesk, ConfigError> {
        let region = self.config.region()?.to_string();
        let credentials = self.clients.credentials().ok_or_else(ConfigError::no_credentials)?;
        let desk = UploadDesk::new(self.clients.s3(), self.config.uploads_bucket()?, region, credentials);
        Ok(desk.with_malware_gate(self.config.scans_for_malware()?))
    }

    /// The third party's limits.
    pub fn limits(&self) -> Result<Limits, ConfigError> {
        self.config.third_party_limits()
    }

    /// What one teacher may have open at once.
    pub fn quota(&self) -> Result<Quota, ConfigError> {
        self.config.quota()
    }

    /// The claim of an access token that lists the groups of a person.
    pub fn groups_claim(&self) -> Result<String, ConfigError> {
        self.config.groups_claim()
    }

    /// How people sign in.
    pub fn sign_in(&self) -> Result<SignIn, ConfigError> {
        self.config.sign_in()
    }

    /// The bucket of returned files, which also holds their quarantine and the records.
    pub fn returned_files(&self) -> Result<ReturnedBucket, ConfigError> {
        Ok(ReturnedBucket::new(self.clients.s3(), self.config.returned_bucket()?))
    }

    /// The bucket of returned files, for a function that hands out URLs of files to people.
    pub fn files_for_people(&self) -> Result<ReturnedBucket, ConfigError> {
        Ok(self.returned_files()?.with_malware_gate(self.config.scans_for_malware()?))
    }

    /// The task tokens of the state machine.
    pub fn task_tokens(&self) -> TaskTokens {
        TaskTokens::new(self.clients.sfn())
    }

    /// The executions of the state machine.
    pub fn state_machine(&self) -> Result<StateMachine, ConfigError> {
        Ok(StateMachine::new(self.clients.sfn(), self.config.state_machine_arn()?))
    }

    /// The executions of the state machine of documents, to stop them.
    pub fn document_executions(&self) -> Result<DocumentExecutions, ConfigError> {
        Ok(DocumentExecutions::new(self.clients.sfn(), &self.config.state_machine_arn()?))
    }

    /// The state machine of erasures.
    pub fn erasure_state_machine(&self) -> Result<ErasureStateMachine, ConfigError> {
        Ok(ErasureStateMachine::new(self.clients.sfn(), self.config.erasure_state_machine_arn()?))
    }

    /// All objects of a submission.
    pub fn objects_of_submissions(&self) -> Result<ObjectsOfSubmissions, ConfigError> {
        let (uploads, returned) = (self.config.uploads_bucket()?, self.config.returned_bucket()?);
        Ok(ObjectsOfSubmissions::new(self.clients.s3(), uploads, returned))
    }

    /// The queues of the stack, for operators.
    pub fn observed_queues(&self) -> Result<ObservedQueues, ConfigError> {
        Ok(ObservedQueues::new(self.clients.sqs(), self.config.observed_queues()?))
    }

    /// The queue of `admit-document`.
    pub fn admission_queue(&self) -> Result<AdmissionQueue, ConfigError> {
        Ok(AdmissionQueue::new(self.clients.sqs(), self.config.admit_document_queue_url()?))
    }

    /// The queue of `deliver-events`, and that of its timers.
    pub fn event_queue(&self) -> Result<EventsQueue, ConfigError> {
        let (url, timers_url) = (self.config.events_queue_url()?, self.config.event_timers_queue_url()?);
        Ok(EventsQueue::new(self.clients.sqs(), url, timers_url))
    }

    /// The endpoints of subscribers.
    pub fn endpoints(&self) -> Result<HttpEndpoints, ConfigError> {
        Ok(HttpEndpoints::new(self.config.third_party_network()?))
    }

    /// The sender that events name.
    pub fn event_source(&self) -> Result<Source, ConfigError> {
        self.config.event_source()
    }

    /// The event bus, if the stack has one.
    pub fn event_bus(&self) -> Result<OptionalEventBus, ConfigError> {
        let (arn, source) = (self.config.event_bus_arn()?, self.config.event_source()?);
        Ok(OptionalEventBus::new(self.clients.event_bridge(), arn, source))
    }

    /// The topic of all alarms.
    pub fn alarm_topic(&self) -> Result<AlarmTopic, ConfigError> {
        Ok(AlarmTopic::new(self.clients.sns(), self.config.alarm_topic_arn()?))
    }

    /// The third party's API.
    pub fn third_party(&self) -> Result<HttpThirdParty, ConfigError> {
        let api_key = CachedSecret::new(self.clients.secrets_manager(), self.config.api_key_secret_arn()?);
        Ok(HttpThirdParty::new(self.config.third_party_url()?, api_key, self.config.request_timeout()?))
    }

    /// The third party's files.
    pub fn returned_file_fetcher(&self) -> Result<ReturnedFileFetcher, ConfigError> {
        Ok(ReturnedFileFetcher::new(
            &self.config.third_party_url()?,
            self.config.returned_file_hosts()?,
            self.config.third_party_network()?,
            self.config.request_timeout()?,
        ))
    }

    /// The secrets that callbacks are signed with.
    pub fn signing_secrets(&self) -> Result<SigningSecretsSource, ConfigError> {
        let secret = CachedSecret::new(self.clients.secrets_manager(), self.config.signing_secret_arn()?);
        Ok(SigningSecretsSource::new(secret))
    }
}
