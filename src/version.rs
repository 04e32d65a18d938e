//! What `--version` says: the program, the commit that it was built from, and the engines inside.
//!
//! Refuses to look at anything when it runs: the build script has looked.

use std::sync::LazyLock;

/// For `-V`, and for man pages: the version alone.
pub const SHORT: &str = env!("CARGO_PKG_VERSION");

/// For `--version`. The commit is left out where the build had no git, such as from a package.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        let built_from = match (option_env!("LOOKBACK_BUILT_FROM"), cfg!(debug_assertions)) {
            (Some(commit), _) => format!(" (commit {commit})"),
            (None, true) => " (debug build)".to_owned(),
            (None, false) => String::new(),
        };
        format!(
            "{SHORT}{built_from}\nDataFusion {}\ndeltalake {}\nArrow {}",
            datafusion::DATAFUSION_VERSION,
            deltalake::crate_version(),
            arrow::ARROW_VERSION,
        )
    });
    &LONG
}
