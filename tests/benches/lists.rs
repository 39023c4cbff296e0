//! What a page of approvals costs, and a count, in files with 1,000 and 100,000 of them.
//!
//! ```text
//! cargo bench -p kern-tests --bench lists
//! KERN_ROWS=1000000 cargo bench -p kern-tests --bench lists
//! ```

#![expect(clippy::print_stdout, reason = "a benchmark says what it measured")]

use std::time::{Duration, Instant};

use kern_db::{ApprovalFilter, ApprovalStatus, SessionFilter};
use kern_tests::filled::filled;
use kern_tests::steps::Store;

/// Rows of the file that the others are compared with.
const FEW: u64 = 1000;
/// Rows a page.
const PAGE: u32 = 100;
/// How often each page is read.
const ROUNDS: usize = 200;
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn filters() -> [(&'static str, ApprovalFilter); 5] {
    let pending = || ApprovalFilter::new().status(ApprovalStatus::Pending);
    [
        ("unfiltered", ApprovalFilter::new()),
        ("by status", pending()),
        ("by user", ApprovalFilter::new().user_id("ana")),
        ("by both", pending().user_id("ana")),
        ("by a user with 200 rows", ApprovalFilter::new().user_id("zoe")),
    ]
}

/// Milliseconds of the first page, of one far down that a cursor finds, and of a count: for each filter.
async fn measured(store: &Store) -> Vec<[f64; 3]> {
    let mut all = Vec::new();
    for (name, filter) in filters() {
        let filter = filter.limit(PAGE);
        let first = store.list_approvals(filter.clone()).await.expect("a page is read");
        assert_eq!(first.data.len(), PAGE as usize, "{name}");
        // By its number, and only once: that costs the more the further down it is.
        let middle = u32::try_from(first.meta.total_pages.div_ceil(2)).expect("it is a page");
        let middle = store.list_approvals(filter.clone().page(middle)).await.expect("a page is read");
        let last = middle.data.last().expect("it has rows");
        let below = filter.clone().after(last.created_at, last.id.clone());
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (place, filter) in [&filter, &below].into_iter().enumerate() {
                let started = Instant::now();
                store.list_approvals(filter.clone()).await.expect("a page is read");
                times[place].push(started.elapsed());
            }
            let started = Instant::now();
            store.count_approvals(filter.clone()).await.expect("they are counted");
            times[2].push(started.elapsed());
        }
        all.push(times.map(median));
    }
    all
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut sizes = vec![100_000];
    sizes.extend(std::env::var("KERN_ROWS").ok().and_then(|text| text.parse::<u64>().ok()));
    let few = filled(FEW).await;
    for rows in sizes {
        let started = Instant::now();
        let many = filled(rows).await;
        let size = std::fs::metadata(many.file()).map_or(0, |file| file.len());
        println!("made a file of {} MB with {rows} approvals in {:.0} s", size >> 20, started.elapsed().as_secs_f64());
        // Together, so that both meet the same machine.
        let (base, measured) = (measured(&few).await, measured(&many).await);
        for (((name, _), base), many) in filters().iter().zip(base).zip(measured) {
            println!(
                "{rows} approvals, page of {PAGE} {name}: {:.2} ms ({:.2} times that of {FEW}: {:.2} ms); \
                 after a cursor far down: {:.2} ms; count: {:.3} ms",
                many[0],
                many[0] / base[0],
                base[0],
                many[1],
                many[2]
            );
        }
        for (name, filter) in [("all", SessionFilter::new()), ("of a user", SessionFilter::new().user_id("ana"))] {
            let mut times = Vec::new();
            for _ in 0..5 {
                let started = Instant::now();
                many.list_sessions(filter.clone()).await.expect("a page is read");
                times.push(started.elapsed());
            }
            println!("{rows} runs, page of 20 sessions, {name}: {:.1} ms", median(times));
        }
    }
}
