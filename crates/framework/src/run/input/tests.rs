//! A source with a rate, and what is read again.

use super::*;
use crate::batch::Origin;
use crate::clock::Clock;
use crate::plugin::SourceEvent;

/// Gives an empty batch up to each offset, and says after each that nothing more is due, as a source with a
/// rate does.
struct Paced(VecDeque<SourceEvent>);

#[async_trait::async_trait]
impl Source for Paced {
    async fn open(&mut self, _: &SourceContext, _: Option<&Position>) -> Result<()> {
        for offset in 1..=4 {
            let partition = Partition::new("file", 0);
            let origin = Origin { partition: partition.clone(), offsets: Vec::new().into(), replay: false };
            let schema = Arc::new(arrow_schema::Schema::empty());
            let batch = Batch::new(arrow_array::RecordBatch::new_empty(schema), Vec::new().into(), origin);
            let position = Position { partition, offset, metadata: String::new() };
            self.0.push_back(SourceEvent::Batch { batch: batch.unwrap(), rejects: Vec::new(), position });
            self.0.push_back(SourceEvent::CaughtUp);
        }
        self.0.push_back(SourceEvent::End);
        Ok(())
    }

    async fn next(&mut self) -> Result<SourceEvent> {
        Ok(self.0.pop_front().unwrap())
    }
}

#[tokio::test]
async fn a_source_with_a_rate_is_not_caught_up_before_what_is_read_again_is_back() {
    let partition = Partition::new("file", 0);
    let body = SourceBody::Custom(Box::new(Paced(VecDeque::new())), partition.clone());
    let schema = Arc::new(arrow_schema::Schema::empty());
    let step = SourceStep { place: "a.paced".to_owned(), plugin: "paced".to_owned(), schema };
    let mut input = Input::new(step, body, None, None, None, false).unwrap();
    let context =
        SourceContext { clock: Clock::manual(0), once: false, batch_rows: 1, keeps_position: false };
    input.open(&context, None).await.unwrap();
    input.replay(&partition, 3);
    let mut seen = Vec::new();
    loop {
        match input.next().await.unwrap() {
            InputEvent::Batch { batch, position, .. } => {
                let again = if batch.origin().replay { " again" } else { "" };
                seen.push(format!("to {}{again}", position.offset));
            }
            InputEvent::CaughtUp(_) => seen.push("caught up".to_owned()),
            InputEvent::End => break,
            _ => {}
        }
    }
    assert_eq!(seen, ["to 1 again", "to 2 again", "to 3 again", "caught up", "to 4", "caught up"]);
}
