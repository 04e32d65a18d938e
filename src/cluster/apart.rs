//! A service whose work is done in a runtime of its own. Queries keep all threads of theirs busy; the
//! threads that look after connections answer meanwhile, so that nobody takes a busy worker for dead.

use std::convert::Infallible;
use std::panic::resume_unwind;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

/// A service, and the runtime for its work.
#[derive(Clone)]
pub struct Apart<S> {
    pub service: S,
    pub runtime: Handle,
}

impl<S: NamedService> NamedService for Apart<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Apart<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = {
            let _in_runtime = self.runtime.enter();
            self.runtime.spawn(self.service.call(request))
        };
        Box::pin(async move {
            match answer.await {
                Ok(answer) => answer,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime ends, and so does the process.
                    Err(_) => std::future::pending().await,
                },
            }
        })
    }
}
