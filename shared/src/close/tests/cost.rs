use super::world::{Answer, HOUR, World};

/// Requests of a run: gets, lists, puts and questions to the stream.
async fn run_counted(world: &mut World) -> (u64, u64, u64, u64) {
    let (before, asked) = (world.lake.requests(), *world.clicks.asked.lock().unwrap());
    world.run().await;
    let sent = world.lake.requests().since(&before);
    (sent.gets, sent.lists, sent.puts, *world.clicks.asked.lock().unwrap() - asked)
}

#[tokio::test]
async fn nothing_to_do_costs_a_get_and_a_question_for_each_open_shard() {
    let mut world = World::new(200).await;
    for shard in 0..200 {
        world.commit(shard, &[5, 8]).await;
    }
    world.at(7 * HOUR);
    world.run().await;
    let (gets, lists, puts, asked) = run_counted(&mut world).await;
    // One more get is the summary; lists: summary, markers, streams.
    assert_eq!((gets, asked, puts), (201, 200, 0));
    assert!(lists <= 4, "{lists}");
}

#[tokio::test]
async fn ten_thousand_ended_shards_read_a_bounded_number_of_objects() {
    let mut world = World::new(3).await;
    for shard in 0..10_003 {
        if shard >= 3 {
            world.answer(shard, Answer::Ended);
        }
        if shard % 100 == 0 {
            world.commit(shard, &[5]).await;
        }
    }
    world.at(7 * HOUR);
    let (gets, _, _, asked) = run_counted(&mut world).await;
    assert!(gets >= 10_000 && asked == 10_003, "the first look is at all of them");
    let (gets, lists, puts, asked) = run_counted(&mut world).await;
    assert!(
        gets + lists + puts <= 20 && asked == 3,
        "{gets} gets, {lists} lists, {puts} puts, {asked} asked"
    );
}
