//! HTML report: a self-contained page with the data as JSON and a script that displays it.

use super::report::Report;

const PAGE: &str = include_str!("report.html");
/// Placeholder of the data.
const PLACE: &str = "{{report}}";

/// Builds the page.
pub(super) fn page(report: &Report) -> String {
    let data = serde_json::to_string(report).expect("a report has text keys only");
    // Within a script element only this sequence could end it.
    PAGE.replacen(PLACE, &data.replace('<', "\\u003c"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_end_the_script_element() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
        let page = page(&super::super::report::tests::example());
        let ends = PAGE.matches("</script>").count();
        assert_eq!(page.matches("</script>").count(), ends, "a log cannot end the script");
        let (_, rest) = page.split_once(r#"<script id="report" type="application/json">"#).unwrap();
        let (data, _) = rest.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["rows"][0]["participants"][0]["log"][0], "0.100 s   </script><b>");
    }
}
