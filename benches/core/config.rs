//! From text to a legal configuration: the built-in layer alone, and under a hundred groups.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::Criterion;
use ipcow::config::{Inputs, load, load_str};

fn hundred_groups() -> String {
    (0..100).fold(String::new(), |mut text, number| {
        write!(
            text,
            "[[listen]]\nname = \"group-{number}\"\naddresses = [\"10.0.{number}.0/24\"]\n\
             ports = [\"8000-8099\", \"!8050\"]\nprotocols = [\"tcp\", \"udp\"]\nbacklog = 512\n"
        )
        .expect("a string takes all");
        text
    })
}

pub(crate) fn loading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("config");
    let small =
        "[session]\nidle_timeout_secs = 60\n[[listen]]\nname = \"a\"\nspec = \"127.0.0.1:80\"";
    group.bench_function("load one group", |bench| {
        bench.iter(|| load_str("small.toml", black_box(small)).expect("legal"));
    });
    let large = hundred_groups();
    group.bench_function("load 100 groups", |bench| {
        bench.iter(|| load_str("large.toml", black_box(&large)).expect("legal"));
    });
    let mut inputs = Inputs::default();
    inputs.config_files = vec!["none".into()];
    inputs.env = vec![("IPCOW__SESSION__IDLE_TIMEOUT_SECS".into(), "60".into())];
    inputs.sets = vec!["retry.max_attempts=3".into()];
    inputs.specs = vec!["both://127.0.0.0/29:8000-8999".into()];
    group.bench_function("load arguments, variables and --set", |bench| {
        bench.iter(|| load(black_box(&inputs)).expect("legal"));
    });
    group.finish();
}
