//! AWS that only answers: every request succeeds at once, and is counted. What is measured beside it is the client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

/// Requests so far by what was asked for, as `service:Action`.
pub type Asked = BTreeMap<String, u64>;

/// The account.
#[derive(Debug, Clone)]
pub struct NullAws {
    /// Where it answers.
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    asked: Asked,
    /// The requests that made the stacks, by stack name: a stack is described as it was ordered.
    stacks: HashMap<String, HashMap<String, String>>,
    keys: u64,
}

/// One request as the services read it.
struct Call {
    service: String,
    action: String,
    /// The form of the query protocol (CloudFormation, IAM, STS).
    form: HashMap<String, String>,
    body: Vec<u8>,
}

impl NullAws {
    /// Starts answering on a free port, until the program ends.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let account = Self { url: format!("http://{}", listener.local_addr()?), state: Arc::default() };
        let answering = account.clone();
        let router = Router::new().fallback(move |request| answering.clone().answer(request));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(account)
    }

    /// What was asked for so far.
    pub fn asked(&self) -> Asked {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }

    async fn answer(self, request: Request) -> Response {
        let Ok(call) = read(request).await else {
            return respond(StatusCode::BAD_REQUEST, "text/plain", String::new());
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state.asked.entry(format!("{}:{}", call.service, call.action)).or_default() += 1;
        match call.service.as_str() {
            "sqs" => json_answer("1.0", &queue(&call)),
            "kinesis" => json_answer("1.1", &stream(&call)),
            "s3" => bucket(&call.action),
            _ => state.managed(&call),
        }
    }
}

impl State {
    /// The services of the query protocol.
    fn managed(&mut self, call: &Call) -> Response {
        let named = |name: &str| call.form.get(name).cloned().unwrap_or_default();
        let result = match call.action.as_str() {
            "CreateStack" => {
                let id = stack_id(&named("StackName"));
                self.stacks.insert(named("StackName"), call.form.clone());
                format!("<StackId>{id}</StackId>")
            }
            "DescribeStacks" => match self.stacks.get(&named("StackName")) {
                Some(ordered) => format!("<Stacks>{}</Stacks>", described(ordered)),
                None if named("StackName").is_empty() => "<Stacks/>".to_owned(),
                None => return missing(&named("StackName")),
            },
            "CreateAccessKey" => {
                self.keys += 1;
                let (user, number) = (named("UserName"), self.keys);
                format!(
                    "<AccessKey><UserName>{user}</UserName><AccessKeyId>AKIA{number:016}</AccessKeyId>\
                     <Status>Active</Status><SecretAccessKey>secret</SecretAccessKey></AccessKey>"
                )
            }
            "ListAccessKeys" => "<AccessKeyMetadata/><IsTruncated>false</IsTruncated>".to_owned(),
            "AssumeRole" => "<Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                 <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
                 <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>\
                 <AssumedRoleId>i:s</AssumedRoleId></AssumedRoleUser>"
                .to_owned(),
            _ => String::new(),
        };
        let action = &call.action;
        let text = format!("<{action}Response><{action}Result>{result}</{action}Result></{action}Response>");
        respond(StatusCode::OK, "text/xml", text)
    }
}

/// A stack that is whole, with the outputs that the templates name.
fn described(ordered: &HashMap<String, String>) -> String {
    let name = ordered.get("StackName").map_or("", String::as_str);
    let members = |list: &str, key: &str, value: &str| -> String {
        let pair = |number: usize| {
            let of = |part: &str| ordered.get(&format!("{list}.member.{number}.{part}"));
            Some(format!("<member><{key}>{}</{key}><{value}>{}</{value}></member>", of(key)?, of(value)?))
        };
        (1..).map_while(pair).collect()
    };
    let template = ordered.get("TemplateBody").map_or("", String::as_str);
    let fifo =
        members("Parameters", "ParameterKey", "ParameterValue").contains("Ordered</ParameterKey><ParameterValue>true");
    let url = if template.contains("AWS::S3::Bucket\n") {
        format!("s3://{name}")
    } else if template.contains("AWS::Kinesis::Stream\n") {
        format!("kinesis://us-east-1/{name}")
    } else {
        format!("https://queues/123456789012/{name}{}", if fifo { ".fifo" } else { "" })
    };
    let defaults = "<member><ParameterKey>ShardStep</ParameterKey><ParameterValue>0</ParameterValue></member>";
    let role = "arn:aws:iam::123456789012:role/r";
    let outputs: String = [("Url", url.as_str()), ("PlatformRoleArn", role), ("ClientUserName", name)]
        .map(|(key, value)| format!("<member><OutputKey>{key}</OutputKey><OutputValue>{value}</OutputValue></member>"))
        .concat();
    format!(
        "<member><StackName>{name}</StackName><StackId>{}</StackId><StackStatus>CREATE_COMPLETE</StackStatus>\
         <CreationTime>2026-01-01T00:00:00Z</CreationTime><Parameters>{}</Parameters><Tags>{}</Tags>\
         <Outputs>{outputs}</Outputs></member>",
        stack_id(name),
        // A stack is described with the parameters too that nobody gave.
        members("Parameters", "ParameterKey", "ParameterValue") + defaults,
        members("Tags", "Key", "Value"),
    )
}

fn stack_id(name: &str) -> String {
    format!("arn:aws:cloudformation:us-east-1:123456789012:stack/{name}/1")
}

fn missing(name: &str) -> Response {
    let text = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>ValidationError</Code>\
         <Message>Stack with id {name} does not exist</Message></Error></ErrorResponse>"
    );
    respond(StatusCode::BAD_REQUEST, "text/xml", text)
}

/// Service and action: from the scope of the signature, the target of the JSON protocols, the form of
/// the query protocol, or method and query of S3.
async fn read(request: Request) -> Result<Call> {
    let header = |headers: &HeaderMap, name: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    // `AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, …`
    let signed = header(request.headers(), "authorization");
    let service = signed.split('/').nth(3).unwrap_or("unsigned").to_owned();
    let target = header(request.headers(), "x-amz-target");
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await?.to_vec();
    let form: HashMap<String, String> = match service.as_str() {
        "sqs" | "kinesis" | "s3" => HashMap::new(),
        _ => url::form_urlencoded::parse(&body).into_owned().collect(),
    };
    let action = match (target.rsplit_once('.'), form.get("Action")) {
        (Some((_, action)), _) => action.to_owned(),
        (None, Some(action)) => action.clone(),
        (None, None) => object_action(&method, uri.query().unwrap_or_default()).to_owned(),
    };
    Ok(Call { service, action, form, body })
}

fn object_action(method: &Method, query: &str) -> &'static str {
    match (method.as_str(), query.contains("uploads"), query.contains("uploadId")) {
        ("GET", true, _) => "ListMultipartUploads",
        ("GET", false, _) if query.contains("list-type") => "ListObjectsV2",
        ("GET", false, _) => "GetObject",
        ("POST", true, _) => "CreateMultipartUpload",
        ("POST", false, true) => "CompleteMultipartUpload",
        ("PUT", _, true) => "UploadPart",
        ("PUT", _, false) => "PutObject",
        ("DELETE", ..) => "DeleteObject",
        _ => "Other",
    }
}

fn queue(call: &Call) -> Value {
    match call.action.as_str() {
        "GetQueueUrl" => json!({"QueueUrl": "http://queues/123456789012/q"}),
        "SendMessageBatch" => {
            let taken = |id: usize| json!({"Id": id.to_string(), "MessageId": "m", "MD5OfMessageBody": "0"});
            let taken: Vec<Value> = (0..count(&call.body, b"\"MessageBody\"")).map(taken).collect();
            json!({"Successful": taken, "Failed": []})
        }
        _ => json!({}),
    }
}

fn stream(call: &Call) -> Value {
    match call.action.as_str() {
        "DescribeStreamSummary" => {
            let summary = json!({"StreamName": "s", "StreamARN": "a", "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 0, "EnhancedMonitoring": [], "OpenShardCount": 1});
            json!({"StreamDescriptionSummary": summary})
        }
        "PutRecords" => {
            let taken = vec![json!({"SequenceNumber": "1", "ShardId": "s"}); count(&call.body, b"\"PartitionKey\"")];
            json!({"Records": taken, "FailedRecordCount": 0})
        }
        _ => json!({}),
    }
}

fn bucket(action: &str) -> Response {
    let xml = |text: &str| respond(StatusCode::OK, "application/xml", text.to_owned());
    match action {
        "ListMultipartUploads" => xml("<ListMultipartUploadsResult/>"),
        "ListObjectsV2" => xml("<ListBucketResult/>"),
        "CreateMultipartUpload" => {
            xml("<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        }
        "CompleteMultipartUpload" => xml("<CompleteMultipartUploadResult/>"),
        "GetObject" => {
            respond(StatusCode::NOT_FOUND, "application/xml", "<Error><Code>NoSuchKey</Code></Error>".to_owned())
        }
        _ => respond(StatusCode::OK, "text/plain", String::new()),
    }
}

fn count(body: &[u8], member: &[u8]) -> usize {
    body.windows(member.len()).filter(|found| *found == member).count()
}

fn json_answer(version: &str, answer: &Value) -> Response {
    respond(StatusCode::OK, &format!("application/x-amz-json-{version}"), answer.to_string())
}

fn respond(status: StatusCode, kind: &str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(kind) = kind.parse() {
        headers.insert("content-type", kind);
    }
    headers.insert("etag", axum::http::HeaderValue::from_static("\"0\""));
    response
}
