//! What the router saves, and that it loses nothing.

use std::sync::Arc;

use headgate_database::testing::databases;
use headgate_types::channel::Lane;
use headgate_types::schema::ElementKind;

use super::bench::{Bench, settle};
use super::target::Target;

#[tokio::test]
async fn a_commit_is_matched_once_and_concerns_only_the_flows_with_a_row_in_it() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(&db, ElementKind::Events).await;
        let (router, shaper) = (bench.context.router.clone(), bench.context.shaper.clone());
        let others: Vec<_> = (0..100)
            .map(|at| router.follow(&Arc::new(bench.element.plan(&format!("site = 'other-{at}'")))).unwrap())
            .collect();
        bench.plan = Arc::new(bench.element.plan("site = 'mine'"));
        bench.pin(false).await;
        let target = Arc::<Target>::default();
        let mut worker = bench.worker(&target).await;
        settle(&mut worker).await;

        bench.append_at("mine", 1..=3).await;
        bench.append_at("other-7", 4..=5).await;
        bench.append_at("nobody", 6..=8).await;
        let mine = Arc::clone(worker.flows[0].following().unwrap());
        mine.reaches(bench.head()).await;
        assert_eq!(router.counts(bench.element.id), (3, 2), "three commits, of which two concern somebody");
        assert!(mine.concerns(0), "{}", db.name);
        let concerned: Vec<usize> = (0..100).filter(|other| others[*other].following().concerns(0)).collect();
        assert_eq!(concerned, [7]);
        assert_eq!(others[0].following().clear_through(0), 8, "nothing is behind where nothing concerns it");
        assert_eq!(mine.clear_through(3), 8);

        settle(&mut worker).await;
        assert_eq!(target.offsets(), [1, 2, 3]);
        assert_eq!(shaper.shaped(), 1, "a commit that does not concern the flow is not looked at");
        assert_eq!((bench.row(Lane::Live).await.booked, worker.flows[0].window.done()), (8, 8));
        bench.append_at("nobody", 9..=10).await;
        settle(&mut worker).await;
        assert_eq!(bench.row(Lane::Live).await.booked, 8, "an offset out of scope costs no write");
        drop((worker, others));
        router.close().await;
        assert!(router.follow(&bench.plan).is_none(), "the process stops");
    }
}

#[tokio::test]
async fn a_flow_that_does_not_keep_up_loses_nothing() {
    for db in databases().await.unwrap() {
        let mut bench = Bench::new(&db, ElementKind::Events).await;
        bench.plan = Arc::new(bench.element.plan("site = 'mine'"));
        bench.pin(false).await;
        let target = Arc::<Target>::default();
        let mut worker = bench.worker(&target).await;
        // More ranges than are noted for anybody, and every second of them concerns the flow.
        for id in 1..=600 {
            bench.append_at(if id % 2 == 0 { "mine" } else { "nobody" }, [id]).await;
        }
        let mine = Arc::clone(worker.flows[0].following().unwrap());
        mine.reaches(600).await;
        assert_eq!(mine.clear_through(0), 0, "what was noted for the flow is forgotten");
        settle(&mut worker).await;
        let all: Vec<u64> = (1..=300).map(|id| 2 * id).collect();
        assert_eq!(target.offsets(), all, "{}", db.name);
        assert_eq!(bench.row(Lane::Live).await.totals.records, 300);

        // One that begins in the middle of what the router has passed.
        let late = Arc::<Target>::default();
        let mut second = bench.worker(&late).await;
        bench.append_at("mine", [601]).await;
        settle(&mut second).await;
        assert_eq!(late.offsets().last(), Some(&601));
        drop((worker, second));
        bench.context.router.close().await;
    }
}
