//! What a process does when it is told to be mistaken.

use hatchery::Request;
use serde_json::{Value, json};

use super::Talker;
use super::obeying::{kind, peer};
use super::orders::{Forged, Misnamed, Misread, Numbers, Order};

impl Talker {
    pub(crate) async fn err(&self, order: Order) -> hatchery::Result<Value> {
        Ok(match order {
            Order::Mislead => {
                self.messenger.broadcast(&Numbers { numbers: vec![1] }).await?;
                json!(1)
            }
            Order::Forge => json!(self.messenger.broadcast(&Forged).await.map_err(|error| error.to_string())),
            Order::Misask { whom } => self.ask_by_mistake(&whom, &Misnamed { name: "slow".to_owned() }).await,
            Order::Misread { whom } => self.ask_by_mistake(&whom, &Misread { ms: 0 }).await,
            order => panic!("{order:?} is no mistake"),
        })
    }

    async fn ask_by_mistake<Q: Request<Reply: serde::Serialize>>(&self, whom: &str, question: &Q) -> Value {
        json!(self.messenger.ask(&peer(whom), question).await.map_err(|error| kind(&error)))
    }
}
