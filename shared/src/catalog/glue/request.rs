//! One request to a service of AWS that speaks JSON, signed with the store's credentials and sent by
//! its client: no SDK, and one TLS stack in a program.

use object_store::HeaderValue;
use object_store::aws::AwsAuthorizer;
use object_store::client::{HttpRequest, HttpRequestBody};
use serde_json::Value;

use super::access::AwsAccess;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
pub(crate) enum NoAnswer {
    /// There was no request: no credentials, or an address that is none.
    Unsent(Cause),
    /// It may have taken effect.
    Lost(Cause),
}

impl From<NoAnswer> for Cause {
    fn from(no: NoAnswer) -> Self {
        match no {
            NoAnswer::Unsent(cause) | NoAnswer::Lost(cause) => cause,
        }
    }
}

/// A service as its addresses and signatures name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// As the setting of its address has it: `sfn` of `AWS_ENDPOINT_URL_SFN`.
    pub(crate) setting: &'static str,
    /// As host names and signatures have it.
    pub(crate) name: &'static str,
}

/// Domains of the regions that begin so, as AWS SDKs have them (botocore, `partitions.json`); all others
/// are at `amazonaws.com`.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

impl Service {
    /// Where it is in a region, without a slash at the end.
    pub(crate) fn address(&self, access: &AwsAccess, region: &str) -> String {
        let own = access.endpoint(self.setting).map(str::to_owned);
        own.unwrap_or_else(|| {
            let special = DOMAINS.iter().find(|(prefix, _)| region.starts_with(prefix));
            let domain = special.map_or("amazonaws.com", |(_, domain)| domain);
            format!("https://{}.{region}.{domain}", self.name)
        })
    }
}

/// What a service answered.
pub(crate) struct Answer {
    /// The HTTP status.
    status: u16,
    /// Null if the body is empty, none if it is no JSON.
    pub(crate) content: Option<Value>,
    /// The service's id of the request.
    pub(crate) request_id: Option<String>,
    /// What the header says went wrong.
    error_type: Option<String>,
}

/// An answer that says no.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Without the namespace before `#`; none if something between answered, or not in the service's form.
    pub(crate) code: Option<String>,
    pub(crate) message: String,
}

impl Answer {
    /// The first of these members that is text.
    pub(crate) fn text(&self, names: [&str; 2]) -> Option<&str> {
        names.iter().find_map(|name| self.content.as_ref()?.get(*name)?.as_str())
    }

    /// Why not, if it says no.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if (200..300).contains(&self.status) {
            return None;
        }
        // `com.amazonaws.states#Name` in a body, `Name:http://…` in a header.
        let code = self.error_type.as_deref().or_else(|| self.text(["__type", "code"]));
        let code = code.and_then(|code| code.rsplit('#').next()?.split(':').next());
        let message = self.text(["message", "Message"]).map(str::to_owned);
        Some(Refusal {
            code: code.map(str::to_owned),
            message: message.unwrap_or_else(|| format!("HTTP {} and no message", self.status)),
        })
    }

    pub(crate) fn is_failure_of_service(&self) -> bool {
        self.status >= 500
    }
}

/// Asks once.
///
/// # Errors
/// No credentials, no connection, or no whole answer in time.
pub(crate) async fn send(
    access: &AwsAccess,
    (service, region): (Service, &str),
    address: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Result<Answer, NoAnswer> {
    let request = signed(access, (service, region), address, headers, body).await;
    let response = access.http().execute(request.map_err(NoAnswer::Unsent)?).await;
    let response = response.map_err(|e| NoAnswer::Lost(e.into()))?;
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    let (request_id, error_type) = (header("x-amzn-requestid"), header("x-amzn-errortype"));
    let status = response.status().as_u16();
    let body = response.into_body().bytes().await.map_err(|e| NoAnswer::Lost(e.into()))?;
    let content = if body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&body).ok() };
    Ok(Answer { status, content, request_id, error_type })
}

async fn signed(
    access: &AwsAccess,
    (service, region): (Service, &str),
    address: &str,
    headers: &[(&'static str, &str)],
    body: String,
) -> Result<HttpRequest, Cause> {
    let credential = access.credential().await?;
    let mut request = HttpRequest::new(HttpRequestBody::from(body));
    *request.method_mut() = "POST".parse()?;
    *request.uri_mut() = address.parse()?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value)?);
    }
    AwsAuthorizer::new(&credential, service.name, region).authorize(&mut request, None);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::glue::Patience;

    #[test]
    fn a_service_is_in_the_domain_of_its_region_unless_an_address_is_set() {
        let at = |region: &str, own: &str| {
            let options = [("aws_region", region), ("aws_endpoint_url_sfn", own)];
            let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let access = AwsAccess::from_options(&options, Patience::SHORT).unwrap();
            Service { setting: "sfn", name: "states" }.address(&access, region)
        };
        assert_eq!(at("eu-west-1", ""), "https://states.eu-west-1.amazonaws.com");
        assert_eq!(at("us-gov-west-1", ""), "https://states.us-gov-west-1.amazonaws.com");
        assert_eq!(at("cn-north-1", ""), "https://states.cn-north-1.amazonaws.com.cn");
        assert_eq!(at("us-isob-east-1", ""), "https://states.us-isob-east-1.sc2s.sgov.gov");
        assert_eq!(at("eu-west-1", "http://127.0.0.1:9/"), "http://127.0.0.1:9");
    }
}
