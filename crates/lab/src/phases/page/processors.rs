//! Who is busy: a small chart a phase, a line a process, all on one scale.

use maud::{Markup, html};

use super::super::figures::Figures;
use super::super::measured::{CoresMean, CpuSample};
use super::super::number::figure;
use super::super::table::servers;
use super::legend::{colour, figure_short, key};
use super::scale::ticks;
use super::svg::{Frame, at, drawing};

const WIDTH: f64 = 310.0;
const HEIGHT: f64 = 220.0;
const FRAME: Frame = Frame { left: 34.0, top: 16.0, right: 302.0, bottom: 188.0 };
/// Looks there are for processes; one past these takes the last.
const LOOKS: usize = 4;

/// The class that gives the process at `index` its look; 0 is the client.
fn look(index: usize) -> String {
    format!("p{}", index.min(LOOKS - 1))
}

/// `cores` is how many the machine has: drawn as a line, where the scale reaches it.
pub(super) fn draw(phases: &[Figures], cores: Option<usize>) -> Markup {
    let servers = servers(phases);
    let mut entries = vec![(format!("line {}", look(0)), "client (this process)".to_owned())];
    for (index, name) in servers.iter().enumerate() {
        entries.push((format!("line {}", look(index + 1)), name.clone()));
    }
    let samples = || phases.iter().flat_map(|phase| &phase.cpu);
    let used = samples()
        .flat_map(|sample| sample.server_cores.values().copied().chain([sample.client_cores]));
    let levels = ticks(used.fold(0.0, f64::max));
    html! {
        (key(&entries))
        div.panels {
            @for (index, phase) in phases.iter().enumerate().filter(|(_, phase)| !phase.cpu.is_empty()) {
                div.panel {
                    h3 class=(colour(index)) { span.swatch {} (phase.name) }
                    @if let Some(mean) = &phase.cpu_cores_mean { p.mean { (told(mean)) } }
                    (panel(index, phase, &servers, &levels, cores))
                }
            }
        }
    }
}

fn panel(
    index: usize,
    phase: &Figures,
    servers: &[String],
    levels: &[f64],
    cores: Option<usize>,
) -> Markup {
    let max = levels.last().copied().unwrap_or(1.0);
    let end =
        phase.cpu.iter().map(|sample| sample.at_seconds).fold(phase.seconds.max(0.1), f64::max);
    let line = |of: &dyn Fn(&CpuSample) -> Option<f64>| {
        let points: Vec<_> =
            phase.cpu.iter().filter_map(|sample| Some((sample.at_seconds, of(sample)?))).collect();
        FRAME.path(&points, end, max)
    };
    let all = cores.map(|cores| cores as f64).filter(|cores| *cores <= max);
    let content = html! {
        @for level in levels { (FRAME.level(level / max, &figure_short(*level))) }
        (FRAME.seconds(&ticks(end), end))
        @if let Some(all) = all {
            @let y = FRAME.y(all / max);
            line.all x1=(at(FRAME.left)) x2=(at(FRAME.right)) y1=(at(y)) y2=(at(y)) {}
            text.small x=(at(FRAME.right)) y=(at(y - 4.0)) text-anchor="end" { "all cores" }
        }
        @for (place, name) in servers.iter().enumerate() {
            path class=(format!("line thin {}", look(place + 1)))
                d=(line(&|sample| sample.server_cores.get(name).copied())) {}
        }
        path class=(format!("line thin {}", look(0))) d=(line(&|sample| Some(sample.client_cores))) {}
    };
    let title = format!("Processor cores in use over time, {}", phase.name);
    let told = phase.cpu_cores_mean.as_ref().map(told).unwrap_or_default();
    drawing(&format!("cpu-{index}"), (WIDTH, HEIGHT), &title, &told, &content)
}

fn told(mean: &CoresMean) -> String {
    let servers = mean.servers.iter().map(|(name, cores)| format!(", {name} {}", figure(*cores)));
    format!("on average: client {}{}", figure(mean.client), servers.collect::<String>())
}
