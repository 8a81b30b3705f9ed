//! JUnit XML report for build servers: a test suite per pairing, a test case per scenario.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::report::{Report, RowReport};

/// Builds the document.
///
/// # Errors
/// The error of the XML writer.
pub(super) fn xml(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let mut document = quick_junit::Report::new("blink conformance");
    document.set_time(Duration::from_secs_f64(report.seconds));
    for pairing in &report.pairings {
        let mut suite = TestSuite::new(pairing.name.as_str());
        for row in report.rows.iter().filter(|row| row.pairing == pairing.name) {
            suite.add_test_case(case(row));
        }
        document.add_test_suite(suite);
    }
    document.to_string()
}

fn case(row: &RowReport) -> TestCase {
    let why = row.why.as_deref().unwrap_or_default();
    let status = match row.outcome {
        "passed" => TestCaseStatus::success(),
        "failed" => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(why.lines().next().unwrap_or_default()).set_description(why);
            status
        }
        _ => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why);
            status
        }
    };
    let mut case = TestCase::new(row.scenario.as_str(), status);
    case.set_classname(row.pairing.as_str()).set_time(Duration::from_secs_f64(row.seconds));
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_included_and_failures_have_a_reason() {
        let xml = xml(&super::super::report::tests::example()).unwrap();
        assert!(xml.contains(r#"tests="4" skipped="2" failures="1" errors="0""#), "{xml}");
        assert_eq!(xml.matches("<testcase ").count(), 4);
        assert_eq!(xml.matches("<skipped").count(), 2);
        assert!(xml.contains("did not &lt;see&gt; bob &amp; carol"), "{xml}");
    }
}
