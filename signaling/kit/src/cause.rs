//! Short reasons of failed connections.

use std::error::Error;

/// The innermost causes of errors, each once and in one line. The errors around them repeat every
/// attempt and every address.
pub fn innermost_causes<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut causes: Vec<String> = Vec::new();
    for mut error in errors {
        while let Some(cause) = error.source() {
            error = cause;
        }
        let text = error.to_string();
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned();
        if !line.is_empty() && !causes.contains(&line) {
            causes.push(line);
        }
    }
    causes.join(", ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_innermost_cause_is_told_once_in_one_line() {
        let refused = || io::Error::other(Outer(io::Error::from(io::ErrorKind::ConnectionRefused)));
        let lines = io::Error::other("Multiple dial errors:\n - no route to host\n");
        let errors = [refused(), refused(), lines];
        let causes = innermost_causes(errors.iter().map(|error| error as &(dyn Error + 'static)));
        assert_eq!(causes, "connection refused, - no route to host");
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "failed to negotiate transport protocol(s): [(/ip4/192.0.2.1/tcp/1: {})]", self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
}
