//! http(s) URLs to which events and traces are posted, and what the environment says of them: the key of
//! a catalog (`OPENLINEAGE_API_KEY`), and where traces go (`OTEL_…`).
//!
//! Refuses to wait for long: nobody's run depends on who listens there.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use url::Url;

const PATIENCE: Duration = Duration::from_secs(5);

/// Where something is posted, and with which headers.
#[derive(Clone)]
pub struct Endpoint {
    url: Url,
    headers: Vec<(String, String)>,
}

/// Hides what may be a password.
impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Endpoint {
    /// The server of a data catalog. A URL without a path gets the usual one. Errors: what is wrong
    /// with it.
    pub fn of_catalog(text: &str) -> Result<Endpoint, String> {
        let mut endpoint = Endpoint::parse(text)?;
        if endpoint.url.path() == "/" {
            endpoint.url.set_path("/api/v1/lineage");
        }
        let key = variable("OPENLINEAGE_API_KEY").map(|key| format!("Bearer {key}"));
        endpoint.headers.extend(key.map(|key| ("authorization".to_owned(), key)));
        Ok(endpoint)
    }

    fn parse(text: &str) -> Result<Endpoint, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Endpoint { url, headers: Vec::new() }),
            other => Err(format!("has the scheme {other}; a file, http or https is wanted")),
        }
    }

    /// Without user, password and query.
    fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}{}", self.url.scheme(), self.url.path())
    }

    /// Errors: the server does not answer within seconds, or refuses it.
    pub async fn post(&self, json: String) -> Result<()> {
        let answer = self.ask(json).await.map_err(reqwest::Error::without_url);
        let status = answer.with_context(|| self.name())?;
        if !status.is_success() {
            bail!("{}: the answer is {status}", self.name());
        }
        Ok(())
    }

    async fn ask(&self, json: String) -> reqwest::Result<StatusCode> {
        // Whoever answers elsewhere would get the headers, which may hold a key.
        #[expect(clippy::disallowed_methods, reason = "here HTTP clients are made")]
        let client = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build()?;
        let request = client.post(self.url.clone()).header(CONTENT_TYPE, "application/json");
        let headers = self.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        Ok(request.body(json).send().await?.status())
    }
}

/// Where traces go, as the usual variables say.
#[derive(Debug, Clone)]
pub struct Collector {
    pub endpoint: Endpoint,
    /// `OTEL_SERVICE_NAME`
    pub service: Option<String>,
    /// The trace and the span that the run is part of, as who started it says (`TRACEPARENT`).
    pub parent: Option<(String, String)>,
}

impl Collector {
    /// None where no variable names a collector. Errors: one that cannot be used.
    pub fn of_environment() -> Result<Option<Collector>> {
        Collector::of(&variable)
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Collector>> {
        let is = |name: &str, value: &str| variable(name).is_some_and(|set| set == value);
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Ok(None);
        }
        // What is said of traces goes before what is said of all signals.
        let said = |name: &str| {
            let own = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            own.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let url = match variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(url) => url,
            None => match variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(url) => format!("{}/v1/traces", url.trim_end_matches('/')),
                None => return Ok(None),
            },
        };
        if let Some(protocol) = said("PROTOCOL")
            && !protocol.starts_with("http/")
        {
            bail!("OTEL_EXPORTER_OTLP_PROTOCOL: is {protocol}; traces are sent as http/json");
        }
        let mut endpoint = Endpoint::parse(&url).map_err(|why| anyhow::anyhow!("OTLP: {why}"))?;
        let headers = said("HEADERS").unwrap_or_default();
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        for (name, value) in pairs {
            endpoint.headers.push((name.trim().to_owned(), decoded(value.trim())));
        }
        Ok(Some(Collector {
            endpoint,
            service: variable("OTEL_SERVICE_NAME"),
            parent: variable("TRACEPARENT").and_then(|text| parent(&text)),
        }))
    }
}

/// A value with %20 and the like.
fn decoded(value: &str) -> String {
    let pair = format!("x={}", value.replace('+', "%2B"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Trace and span of `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
fn parent(text: &str) -> Option<(String, String)> {
    let parts: Vec<&str> = text.trim().split('-').collect();
    let [_, trace, span, _] = parts[..] else { return None };
    let is_id = |id: &str, length| {
        id.len() == length
            && id.bytes().all(|byte| byte.is_ascii_hexdigit())
            && id.bytes().any(|byte| byte != b'0')
    };
    (is_id(trace, 32) && is_id(span, 16)).then(|| (trace.to_lowercase(), span.to_lowercase()))
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "credentials come from the environment")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn a_server_has_a_path_and_a_password_is_not_told() {
        let of = |text| Endpoint::of_catalog(text).map(|endpoint| endpoint.name());
        assert_eq!(of("http://marquez:5000").unwrap(), "http://marquez:5000/api/v1/lineage");
        assert_eq!(of("https://a:b@c/events?key=d").unwrap(), "https://c/events");
        assert!(of("ftp://c").unwrap_err().contains("has the scheme ftp"));
    }

    #[tokio::test]
    async fn who_answers_elsewhere_gets_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /there\r\n\
                          Content-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Nobody asks again.
            tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.is_err()
        });
        let endpoint = Endpoint::of_catalog(&format!("http://{host}")).unwrap();
        let refused = endpoint.post("{}".to_owned()).await.unwrap_err();
        assert!(refused.to_string().contains("the answer is 307"), "{refused:#}");
        assert!(server.await.unwrap());
    }

    #[test]
    fn the_usual_variables_say_where_traces_go() {
        let of = |set: &[(&str, &str)]| {
            let set: std::collections::BTreeMap<String, String> =
                set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Collector::of(&|name| set.get(name).cloned())
        };
        assert!(of(&[]).unwrap().is_none());
        let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b+c, x = y");
        let parent = "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01";
        let collector = of(&[all, headers, ("TRACEPARENT", parent)]).unwrap().unwrap();
        assert_eq!(collector.endpoint.name(), "http://collector:4318/v1/traces");
        let headers = [("api-key", "a b+c"), ("x", "y")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(collector.endpoint.headers, headers);
        let (trace, span) = collector.parent.unwrap();
        assert_eq!(trace, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span, "00f067aa0ba902b7");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/here");
        assert_eq!(of(&[all, own]).unwrap().unwrap().endpoint.name(), "http://traces/here");
        assert!(of(&[all, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(of(&[all, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        let grpc = of(&[all, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(grpc.to_string().contains("is grpc"), "{grpc}");
        assert!(of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")]).is_err());
    }
}
