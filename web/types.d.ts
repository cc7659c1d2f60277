// What the HTTP API answers (docs/api.openapi.json) and what the pages' parts pass to one another. Only read by the type check.

export type Kind = "video" | "audio" | "document" | "picture";
export type SubmissionState = "Draft" | "InProgress" | "Ready" | "NeedsAttention";
export type DocumentState =
  | "Received" | "Transferring" | "Processing" | "Verifying" | "Normalizing" | "Ready" | "Rejected" | "Failed";
export type Role = "teacher" | "evaluator" | "operator";

export interface FileType {
  mediaType: string;
  kind: Kind;
  extensions: string[];
  accepted: boolean;
  playsInBrowsers?: "yes" | "depends" | "no";
  advice?: string;
}

export interface SignIn {
  issuer: string;
  clientId: string;
  scope?: string;
  authorizeUrl?: string;
  tokenUrl?: string;
  logoutUrl?: string;
}

export interface Config {
  signIn: SignIn;
  types: FileType[];
}

export interface Quota {
  maxOpenSubmissions: number;
  maxFilesPerSubmission: number;
  maxOpenBytes: number;
  maxFileBytes: number;
}

export interface Me {
  subject: string;
  roles: Role[];
  quota: Quota;
}

export interface SubmissionSummary {
  submissionId: string;
  title?: string;
  state: SubmissionState;
  open: number;
  ready: number;
  rejected: number;
  failed: number;
  kinds?: Kind[];
  createdAt: string;
}

export interface PendingFile {
  fileId: string;
  name: string;
  sizeBytes: number;
  mediaType: string;
  kind: Kind;
  createdAt: string;
  replaces?: string;
}

export interface Reason {
  code: string;
  message: string;
}

export interface DocumentSummary {
  documentId: string;
  fileName: string;
  mediaType?: string;
  kind?: Kind;
  sizeBytes: number;
  state: DocumentState;
  reason?: Reason;
  times: Partial<Record<DocumentState, string>>;
  supersededBy?: string;
  isWithdrawn?: boolean;
}

export interface SubmissionDetail {
  submission: SubmissionSummary;
  mayChange: boolean;
  pending: PendingFile[];
  documents: DocumentSummary[];
  cursor?: string;
}

export interface FileLink {
  index?: number;
  kind: "upload" | "returned";
  fileName: string;
  mediaType: string;
  url: string;
  inlineUrl?: string;
  expiresInS: number;
}

export interface Segment {
  startMs: number;
  endMs: number;
  text: string;
  speaker?: string | null;
}

export type Severity = "info" | "warning" | "error";

export interface Finding {
  range: { start: number; end: number };
  rule: string;
  message: string;
  suggestion?: string | null;
  severity: Severity;
}

export interface Attachment {
  index: number;
  fileName: string;
  role: string;
  mediaType: string;
  sizeBytes: number;
}

export interface LessonRecord {
  source: { fileName: string; mediaType: string; sizeBytes: number };
  media?: { durationMs?: number | null } | null;
  transcript?: { language?: string | null; segments: Segment[]; droppedCues?: number } | null;
  text?: string | null;
  findings: Finding[];
  attachments: Attachment[];
}

export interface UploadedPart {
  partNumber: number;
  sizeBytes: number;
  checksumSha256: string;
}

export type UploadPlan =
  | { method: "post"; url: string; fields: Record<string, string>; expiresInS: number }
  | { method: "parts"; partSizeBytes: number; partCount: number; uploaded: UploadedPart[] };

export interface SignedPart {
  partNumber: number;
  url: string;
  headers: Record<string, string>;
  expiresInS: number;
}

export interface Queue {
  name: string;
  waiting: number;
  inFlight: number;
  deadLetters: number;
}

export interface Operations {
  submissions: { inProgress: number; needsAttention: number; oldestInProgressAt?: string };
  queues: Queue[];
  limiter: {
    requestsPerSecond: number;
    burst: number;
    maxInFlight: number;
    leases: number;
    waiting: number;
    breakerOpen: boolean;
    breakerCause?: "unavailable" | "unauthorized";
    trialAt?: string;
    slowdown: number;
    stalledForS?: number;
  };
}

export interface Failure {
  submissionId: string;
  title?: string;
  documentId: string;
  fileName: string;
  kind?: Kind;
  failedAt?: string;
  reason?: Reason;
  why: string;
  todo: string[];
}

export type EventType =
  | "submission.created" | "submission.completed" | "submission.erased" | "document.received" | "document.ready" | "document.rejected"
  | "document.failed" | "document.redriven" | "document.superseded" | "document.withdrawn" | "subscriber.disabled"
  | "subscriber.challenge" | "subscriber.test";

export interface Subscriber {
  subscriberId: string;
  url: string;
  eventTypes: EventType[];
  kinds: Kind[];
  format: "full" | "thin";
  signature: "hmac" | "ed25519";
  ordered: boolean;
  maxBatch: number;
  maxBatchWaitSeconds: number;
  gzip: boolean;
  requestsPerSecond: number;
  maxInFlight: number;
  timeoutSeconds: number;
  status: "active" | "paused" | "disabled";
  disabledReason?: "gone" | "unreachable";
  disabledAt?: string;
  createdAt: string;
  deliveries: {
    waiting: number;
    oldestAt?: string;
    retrying: RetryingEvent[];
    retryingCount: number;
    blocked: number;
    deadLetters: number;
    inFlight: number;
    breakerOpen: boolean;
    failingSince?: string;
  };
}

export interface RetryingEvent {
  eventId: string;
  type: EventType;
  subject: string;
  attempts: number;
  nextAt: string;
  status?: number;
}

export interface NewSecret {
  secret?: string;
  publicKey?: string;
}

export interface AddedSubscriber extends NewSecret {
  subscriber: Subscriber;
}

export interface SubscriberTrial {
  request: { url: string; headers: Record<string, string>; body: string };
  response?: { status: number; headers: Record<string, string>; body: string };
  error?: string;
}

export interface ReplayedPage {
  events: number;
  cursor?: string;
}
