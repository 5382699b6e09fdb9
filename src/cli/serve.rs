//! Files for a browser on this machine. Invariant: only this machine can ask, only under a path that nobody can guess,
//! and only the page that is named gets the answer; nothing is sent that was not asked for.

use super::conduct::runtime;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use std::future::Future;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// One file that is served.
#[derive(Clone)]
pub struct Served {
    /// Last part of its path.
    pub name: &'static str,
    pub content_type: &'static str,
    pub content: Bytes,
    /// Origin of the only page that may read it, as browsers name it: `https://profiler.firefox.com`. `None`: it is
    /// itself the page, which the browser opens.
    pub reader: Option<&'static str>,
}

/// Serves the files until `stop`; `ready` gets their addresses first, in their order.
///
/// # Errors
/// The port cannot be listened on.
pub fn serve(
    served: Vec<Served>,
    port: u16,
    ready: impl FnOnce(&[String]) -> Result<()>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.with_context(|| format!("cannot listen on port {port}: choose another with --port"))?;
        let paths: Vec<String> =
            served.iter().map(|served| format!("/{:032x}/{}", rand::random::<u128>(), served.name)).collect();
        let origin = format!("http://{}", listener.local_addr()?);
        ready(&paths.iter().map(|path| format!("{origin}{path}")).collect::<Vec<_>>())?;
        let router = served.into_iter().zip(&paths).fold(Router::new(), |router, (served, path)| {
            router.route(
                path,
                any(move |method: Method, headers: HeaderMap| async move { answer(&method, &headers, served) }),
            )
        });
        axum::serve(listener, router).with_graceful_shutdown(stop).await.context("cannot serve")
    })
}

/// The content for its reader, and leave for the reader to ask; nothing for other pages.
fn answer(method: &Method, headers: &HeaderMap, served: Served) -> Response {
    let Served { content_type: kind, content, reader, .. } = served;
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    if origin.is_some() && origin != reader {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut told = vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    told.extend(reader.and_then(|reader| Some((header::ACCESS_CONTROL_ALLOW_ORIGIN, reader.parse().ok()?))));
    told.push((header::VARY, HeaderValue::from_static("Origin")));
    // A path that nobody can guess is told to nobody, and a file is taken for nothing but what it is.
    told.push((header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")));
    told.push((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    match *method {
        // Browsers ask first whether a public page may read from this machine (Private Network Access).
        Method::OPTIONS => {
            let allow = HeaderName::from_static("access-control-allow-private-network");
            told.push((allow, HeaderValue::from_static("true")));
            with(StatusCode::NO_CONTENT, told, Bytes::new())
        }
        Method::GET | Method::HEAD => {
            told.push((header::CONTENT_TYPE, HeaderValue::from_static(kind)));
            with(StatusCode::OK, told, content)
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn with(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, content: Bytes) -> Response {
    (status, HeaderMap::from_iter(headers), content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(reader: Option<&'static str>) -> Served {
        Served { name: "x", content_type: "text/plain", content: Bytes::from("x"), reader }
    }

    fn asked(method: Method, origin: Option<&'static str>) -> Response {
        let headers = origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin)));
        answer(&method, &HeaderMap::from_iter(headers), served(Some("https://a.example")))
    }

    #[test]
    fn only_the_page_that_is_named_is_answered() {
        for (method, origin, status) in [
            (Method::GET, Some("https://a.example"), 200),
            (Method::GET, None, 200),
            (Method::OPTIONS, Some("https://a.example"), 204),
            (Method::GET, Some("https://b.example"), 403),
            (Method::OPTIONS, Some("https://b.example"), 403),
            (Method::GET, Some("null"), 403),
            (Method::POST, Some("https://a.example"), 405),
        ] {
            let response = asked(method.clone(), origin);
            assert_eq!(response.status(), status, "{method} {origin:?}");
            let allowed = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert!(allowed.is_none_or(|allowed| allowed == "https://a.example"), "{allowed:?}");
            assert_eq!(allowed.is_some(), status < 300);
        }
        assert!(asked(Method::OPTIONS, None).headers().contains_key("access-control-allow-private-network"));
    }

    #[test]
    fn no_other_page_reads_what_is_itself_a_page() {
        let status = |origin: Option<&'static str>| {
            let headers = origin.map(|origin| (header::ORIGIN, HeaderValue::from_static(origin)));
            let response = answer(&Method::GET, &HeaderMap::from_iter(headers), served(None));
            assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
            response.status().as_u16()
        };
        assert_eq!([None, Some("https://a.example"), Some("null")].map(status), [200, 403, 403]);
    }
}
