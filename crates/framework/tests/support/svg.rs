//! Pictures as SVG, light and dark.

use std::fmt::Write as _;

pub const WIDTH: f64 = 720.0;

/// A picture while it is drawn.
pub struct Svg {
    body: String,
    height: f64,
}

impl Svg {
    pub fn new(height: f64) -> Self {
        Self { body: String::new(), height }
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let (x1, y1, x2, y2) = (from.0, from.1, to.0, to.1);
        let _ = writeln!(
            self.body,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    pub fn bar(&mut self, class: &str, (x, y): (f64, f64), width: f64, height: f64) {
        let _ = writeln!(
            self.body,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="3"/>"#
        );
    }

    pub fn dot(&mut self, class: &str, (x, y): (f64, f64)) {
        let _ = writeln!(self.body, r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="6"/>"#);
    }

    pub fn path(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.body, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
    }

    /// `anchor`: start, middle or end.
    pub fn text(&mut self, class: &str, anchor: &str, (x, y): (f64, f64), text: &str) {
        let _ = writeln!(
            self.body,
            r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#
        );
    }

    pub fn finish(self, title: &str) -> String {
        let height = self.height;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<style>
text {{ font: 13px system-ui, sans-serif; fill: #24292f }}
.small {{ font-size: 11px; fill: #57606a }}
.axis {{ stroke: #8c959f; stroke-width: 1 }}
.grid {{ stroke: #d0d7de; stroke-width: 1; stroke-dasharray: 2 3 }}
.a {{ fill: #0969da }} .b {{ fill: #bf8700 }} .late {{ fill: #cf222e }}
.window {{ fill: #0969da; fill-opacity: .12; stroke: #0969da; stroke-opacity: .5 }}
.mark {{ fill: none; stroke: #1a7f37; stroke-width: 2 }}
.green {{ fill: #1a7f37 }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3 }} .small {{ fill: #8b949e }} .axis {{ stroke: #6e7681 }} .grid {{ stroke: #30363d }}
.a {{ fill: #58a6ff }} .b {{ fill: #d29922 }} .late {{ fill: #ff7b72 }}
.window {{ fill: #58a6ff; stroke: #58a6ff }} .mark {{ stroke: #3fb950 }} .green {{ fill: #3fb950 }}
}}
</style>
{}</svg>
"#,
            self.body
        )
    }
}
