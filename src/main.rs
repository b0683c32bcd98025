//! The `tensorseal` program.

fn main() -> std::process::ExitCode {
    quiet_display_lookup();
    tensorseal::cli::main()
}

/// Vulkan drivers look for a display server and complain on standard error when a service, a
/// container or a cron job has no runtime directory. Any directory keeps them quiet; nothing is
/// written to it.
fn quiet_display_lookup() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first thing the program does; there is no other thread yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
