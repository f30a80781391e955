//! Writes a report as one HTML page that needs nothing else: the text of the terminal, and plots as inline SVG.
//!
//! Plots are made without fonts of the system: the browser sets the text. Called by `main`.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::capacity::Capacity;
use crate::latency::{PROMISE, millis};
use crate::report::Report;
use crate::simulate::{Answer, Outcome, Simulation};
use crate::soak::Soak;

const SIZE: (u32, u32) = (860, 320);
const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(230, 126, 14);
const GREY: RGBColor = RGBColor(120, 120, 120);
const RED: RGBColor = RGBColor(200, 40, 40);

/// One curve.
struct Curve {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
    /// Draws the points too, where there are few.
    dots: bool,
}

impl Curve {
    fn new(name: &'static str, colour: RGBColor, points: impl Iterator<Item = (f64, f64)>) -> Self {
        Self {
            name,
            colour,
            points: points.collect(),
            dots: false,
        }
    }

    fn with_dots(self) -> Self {
        Self { dots: true, ..self }
    }
}

/// Axes and curves. The axes begin at zero.
struct Plot {
    title: &'static str,
    x: &'static str,
    y: &'static str,
    curves: Vec<Curve>,
    /// A horizontal line at this height.
    bound: Option<f64>,
}

impl Plot {
    /// The plot as an `svg` element; a sentence if there is nothing to draw.
    fn svg(&self) -> Result<String> {
        let all = || self.curves.iter().flat_map(|curve| curve.points.iter());
        if all().count() == 0 {
            return Ok(format!("<p>{}: no samples</p>", escape(self.title)));
        }
        let right = all().fold(0.0_f64, |most, point| most.max(point.0)).max(1e-3);
        let top = all().fold(self.bound.unwrap_or(0.0), |most, point| most.max(point.1)).max(1e-3) * 1.1;
        let mut out = String::new();
        self.draw(&mut out, right, top)
            .map_err(|error| anyhow!("drawing {}: {error}", self.title))?;
        Ok(out)
    }

    fn draw(&self, out: &mut String, right: f64, top: f64) -> Result<(), Box<dyn std::error::Error>> {
        let area = SVGBackend::with_string(out, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..top)?;
        chart.configure_mesh().x_desc(self.x).y_desc(self.y).max_light_lines(0).draw()?;
        for curve in &self.curves {
            let colour = curve.colour;
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x.saturating_add(18), y)], colour.stroke_width(2)));
            if curve.dots {
                chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
            }
        }
        if let Some(bound) = self.bound {
            chart.draw_series(LineSeries::new([(0.0, bound), (right, bound)], RED.stroke_width(1)))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .border_style(GREY)
            .background_style(WHITE.mix(0.8))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

/// Text inside an element.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn page(title: &str, text: &str, plots: &[Plot]) -> Result<String> {
    let plots = plots.iter().map(Plot::svg).collect::<Result<Vec<_>>>()?.join("\n");
    let (title, text) = (escape(title), escape(text));
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body{{font-family:sans-serif;margin:2em;max-width:75em}}pre{{font-size:13px;overflow-x:auto}}svg{{display:block;margin:1em 0;max-width:100%}}</style>\n\
         </head>\n<body>\n<h1>{title}</h1>\n{plots}\n<pre>{text}</pre>\n</body>\n</html>\n"
    ))
}

/// The page of a run.
///
/// # Errors
/// A plot that cannot be drawn.
pub(crate) fn of_run(report: &Report<'_>) -> Result<String> {
    let points = || report.over_time.iter();
    let response = || points().filter_map(|point| Some((point.at_s, point.response?)));
    let mut plots = vec![
        Plot {
            title: "Response time over the run",
            x: "seconds after the start",
            y: "ms",
            curves: vec![
                Curve::new("p99", ORANGE, response().map(|(at, summary)| (at, summary.p99_ms))),
                Curve::new("p50", BLUE, response().map(|(at, summary)| (at, summary.p50_ms))),
            ],
            bound: Some(millis(PROMISE)),
        },
        Plot {
            title: "Streams open",
            x: "seconds after the start",
            y: "streams",
            curves: vec![Curve::new(
                "open",
                BLUE,
                points().map(|point| (point.at_s, crate::tally::number(point.open))),
            )],
            bound: None,
        },
        Plot {
            title: "Share of the response times that are at most so long",
            x: "ms",
            y: "%",
            curves: vec![
                Curve::new(
                    "response time",
                    BLUE,
                    report.response_curve.iter().map(|(ms, share)| (*ms, share * 100.0)),
                )
                .with_dots(),
            ],
            bound: None,
        },
    ];
    if report.uploads.is_some() {
        plots.push(Plot {
            title: "Uploads",
            x: "seconds after the start",
            y: "seconds of audio a second",
            curves: vec![Curve::new(
                "answered",
                ORANGE,
                points().map(|point| (point.at_s, point.upload_audio_per_second)),
            )],
            bound: None,
        });
    }
    page(&report.scenario.name, &report.to_string(), &plots)
}

/// The page of a search.
///
/// # Errors
/// A plot that cannot be drawn.
pub(crate) fn of_capacity(found: &Capacity<'_>) -> Result<String> {
    let mut trials: Vec<_> = found.trials.iter().collect();
    trials.sort_by_key(|trial| trial.streams);
    let response = || {
        trials
            .iter()
            .filter_map(|trial| Some((f64::from(trial.streams), trial.response?, trial.broken.is_empty())))
    };
    let held = response().filter(|(_, _, holds)| *holds);
    let plot = Plot {
        title: "Response time by the number of streams",
        x: "streams",
        y: "ms",
        curves: vec![
            Curve::new("p99", ORANGE, response().map(|(streams, summary, _)| (streams, summary.p99_ms))),
            Curve::new("p50", BLUE, response().map(|(streams, summary, _)| (streams, summary.p50_ms))),
            Curve::new(
                "p99 of trials that hold",
                GREY,
                held.map(|(streams, summary, _)| (streams, summary.p99_ms)),
            )
            .with_dots(),
        ],
        bound: Some(millis(PROMISE)),
    };
    page(&format!("Capacity, {}", found.scenario), &found.table(), &[plot])
}

/// The page of a soak.
///
/// # Errors
/// A plot that cannot be drawn.
pub(crate) fn of_soak(soak: &Soak<'_>) -> Result<String> {
    let plot = Plot {
        title: "Resident memory of the server",
        x: "seconds after the start",
        y: "MiB",
        curves: vec![Curve::new("resident", BLUE, soak.memory.iter().copied())],
        bound: None,
    };
    page(&format!("Soak, {}", soak.scenario), &soak.to_string(), &[plot])
}

/// The page of a simulation.
///
/// # Errors
/// A plot that cannot be drawn.
pub(crate) fn of_simulation(simulation: &Simulation) -> Result<String> {
    let found = match &simulation.answer {
        Answer::Most { found, .. } => found.as_slice(),
        Answer::Load { .. } | Answer::Run { .. } | Answer::Fewest { .. } => &[],
    };
    let outcome = match &simulation.answer {
        Answer::Load { outcome, .. } | Answer::Run { outcome } => Some(outcome.as_ref()),
        Answer::Fewest { found: Some(found), .. } => Some(&found.held),
        Answer::Fewest { found: None, .. } | Answer::Most { .. } => None,
    };
    let curve = outcome.into_iter().flat_map(|outcome| &outcome.response_curve);
    let row = |y: fn(&Outcome) -> f64| found.iter().map(move |row| (crate::tally::number(row.held.gpus), y(&row.held)));
    let plot = |title, x, y, curve: Curve, bound| Plot {
        title,
        x,
        y,
        curves: vec![curve.with_dots()],
        bound,
    };
    let of_load = plot(
        "Simulated: share of the response times that are at most so long",
        "ms",
        "%",
        Curve::new("response time", BLUE, curve.map(|(ms, share)| (*ms, share * 100.0))),
        None,
    );
    let streams = plot(
        "Simulated: the most streams that hold",
        "devices",
        "streams",
        Curve::new("streams", BLUE, row(|held| crate::tally::number(held.streams))),
        None,
    );
    let response = plot(
        "Simulated: response time at the most streams that hold",
        "devices",
        "ms",
        Curve::new("p99", ORANGE, row(|held| held.response.map_or(0.0, |response| response.p99_ms))),
        Some(simulation.scenario.budget_ms),
    );
    let plots = if found.is_empty() { vec![of_load] } else { vec![streams, response] };
    page(&format!("Simulation, {}", simulation.table.name), &simulation.to_string(), &plots)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn plot(points: &[(f64, f64)]) -> Plot {
        Plot {
            title: "a < b",
            x: "x",
            y: "y",
            curves: vec![Curve::new("c", BLUE, points.iter().copied()).with_dots()],
            bound: Some(400.0),
        }
    }

    #[test]
    fn plots_need_no_fonts_and_nothing_from_elsewhere() {
        let text = page("t <i>", "a & b", &[plot(&[(0.0, 1.0), (10.0, 500.0)]), plot(&[])]).unwrap();
        assert_eq!((text.matches("<svg").count(), text.matches("</svg>").count()), (1, 1), "{text}");
        assert!(text.contains("<circle") && text.contains("<polyline"), "{text}");
        assert!(text.contains("<p>a &lt; b: no samples</p>"), "{text}");
        assert!(
            text.contains("<h1>t &lt;i&gt;</h1>") && text.contains("<pre>a &amp; b</pre>"),
            "{text}"
        );
        assert!(
            !text.contains("src=") && !text.contains("href=") && !text.contains("a < b"),
            "{text}"
        );
    }

    #[test]
    fn a_single_point_and_zeroes_can_be_drawn() {
        assert!(plot(&[(0.0, 0.0)]).svg().unwrap().contains("</svg>"));
    }
}
