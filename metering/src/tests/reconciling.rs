use headgate_database::args;
use headgate_database::testing::{TestDb, databases};

use super::*;
use crate::reconcile::{Booked, Difference, Report, reconcile};

fn counter(flow: &Flow, cut_to: u64, records: u64) -> Booked {
    let Flow { tenant, channel, element } = *flow;
    Booked { tenant, channel, element, lane: Lane::Live, start: 0, cut_to, records, bytes: records * 10 }
}

async fn report(db: &TestDb, flow: &Flow, booked: &[Booked]) -> Report {
    let mut tx = db.data.read_platform().await.unwrap();
    reconcile(&mut tx, Some(flow.tenant), booked).await.unwrap()
}

#[tokio::test]
async fn usage_that_tiles_what_was_delivered_agrees() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 7).await;
        flow.book(&db.data, 10, 25, 0).await;
        flow.book(&db.data, 25, 40, 15).await;
        let report = report(&db, &flow, &[counter(&flow, 40, 22)]).await;
        assert!(report.agrees(), "{}: {report:?}", db.name);
        assert_eq!((report.flows, report.delivered_records, report.billed_records), (1, 22, 22));
        assert_eq!((report.delivered_bytes, report.billed_bytes), (220, 220));

        // For all tenants at once, and as the tenant itself.
        let mut tx = db.data.read_platform().await.unwrap();
        assert!(reconcile(&mut tx, None, &[counter(&flow, 40, 22)]).await.unwrap().agrees());
        let mut tx = db.data.read_tenant(flow.tenant).await.unwrap();
        assert!(reconcile(&mut tx, Some(flow.tenant), &[counter(&flow, 40, 22)]).await.unwrap().agrees());
    }
}

#[tokio::test]
async fn the_first_difference_names_the_place() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 10).await;
        flow.book(&db.data, 20, 30, 10).await;
        let found = report(&db, &flow, &[counter(&flow, 30, 30)]).await;
        let gap = Difference::Gap { flow: counter(&flow, 30, 30), meter: Meter::DeliverRecords, after: 10, to: 20 };
        assert_eq!((found.difference_count, &found.differences[0]), (2, &gap), "{}", db.name);

        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 10).await;
        flow.book(&db.data, 5, 20, 15).await;
        let found = report(&db, &flow, &[counter(&flow, 20, 20)]).await;
        let twice =
            Difference::Overlap { flow: counter(&flow, 20, 20), meter: Meter::DeliverRecords, after: 5, to: 10 };
        assert_eq!(found.differences[0], twice, "{}", db.name);

        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 9).await;
        let found = report(&db, &flow, &[counter(&flow, 10, 10)]).await;
        assert!(
            matches!(found.differences[0], Difference::Quantity { delivered: 10, billed: 9, .. }),
            "{}: {found:?}",
            db.name
        );
        let found = report(&db, &flow, &[counter(&flow, 12, 9)]).await;
        assert!(matches!(found.differences[0], Difference::Gap { after: 10, to: 12, .. }), "{found:?}");
        let found = report(&db, &flow, &[counter(&flow, 8, 9)]).await;
        assert!(matches!(found.differences[0], Difference::Overlap { after: 8, to: 10, .. }), "{found:?}");

        let found = report(&db, &flow, &[]).await;
        assert!(matches!(found.differences[0], Difference::UnknownFlow { billed: 9, .. }), "{found:?}");
        assert_eq!((found.billed_records, found.delivered_records), (9, 0));
    }
}

#[tokio::test]
async fn a_daily_sum_that_is_not_the_sum_of_its_records_is_found() {
    for db in databases().await.unwrap() {
        let flow = Flow::new();
        flow.book(&db.data, 0, 10, 10).await;
        let mut tx = db.data.tenant(flow.tenant).await.unwrap();
        tx.execute(
            "UPDATE usage_rollups SET quantity = quantity + 1 WHERE tenant_id = $1 AND meter = $2",
            args![flow.tenant, Meter::DeliverBytes.as_str()],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let found = report(&db, &flow, &[counter(&flow, 10, 10)]).await;
        let wrong = Difference::Rollup { tenant: flow.tenant, meter: Meter::DeliverBytes, rollups: 101, records: 100 };
        assert_eq!(found.differences, [wrong], "{}", db.name);
    }
}
