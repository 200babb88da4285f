//! What belongs to one instance: what it sees of the world, and its memory.

use http::Request;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use crate::memory::Budget;
use crate::output::{Log, Output, Take as _};

/// One instance's own.
pub(crate) struct Guest {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) budget: Budget,
    http: WasiHttpCtx,
    outside: Nowhere,
}

impl Guest {
    /// What it may not do is told in `log`.
    pub(crate) fn new(wasi: WasiP1Ctx, budget: Budget, log: Output<Log>) -> Self {
        Self {
            wasi,
            budget,
            http: WasiHttpCtx::new(),
            outside: Nowhere(log),
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.ctx()
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            ctx: &mut self.http,
            table: self.wasi.ctx().table,
            hooks: &mut self.outside,
        }
    }
}

/// Where requests of programs go.
struct Nowhere(Output<Log>);

type Answered = (
    http::Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for Nowhere {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answered, Error>> + Send> {
        // The rest of the address may hold what no log should.
        let host = request.uri().host().unwrap_or_default();
        let text = format!("no request to {host:?} was sent: functions in WebAssembly reach no network\n");
        // A log that is closed is no reason: the program is told as well.
        self.0.lock().take(text.as_bytes()).unwrap_or_default();
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
