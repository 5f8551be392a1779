//! A queue of SQS, as one who empties it sees it.

use std::future::Future;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, QueueAttributeName,
};
use headgate_aws::SdkConfig;

use super::Reach;
use super::failure::Failure;
use crate::cloud::QueueName;

/// The most messages of one call.
pub const BATCH: i32 = 10;
/// How long a received message is invisible at most before that is said again: so long nobody gets it when this
/// process ends.
const VISIBILITY: Duration = Duration::from_secs(30);

/// A queue that is there. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
    visibility: Duration,
}

impl Queue {
    /// Asks for its address and settings.
    ///
    /// # Errors
    /// It is not there, or not for us.
    pub async fn find(config: &SdkConfig, name: &QueueName) -> Result<Self, Failure> {
        let client = Client::new(config);
        let found = client.get_queue_url().queue_name(&name.name).queue_owner_aws_account_id(&name.account).send();
        let found = found.await.map_err(Failure::of("finding the queue"))?;
        let url = found.queue_url.unwrap_or_default();
        let wanted = QueueAttributeName::VisibilityTimeout;
        let told = client.get_queue_attributes().queue_url(&url).attribute_names(wanted.clone()).send();
        let told = told.await.map_err(Failure::of("reading the queue's settings"))?;
        let seconds = told.attributes.and_then(|all| all.get(&wanted)?.parse().ok());
        let visibility = seconds.map_or(VISIBILITY, |seconds: u64| Duration::from_secs(seconds.max(1)).min(VISIBILITY));
        Ok(Self { client, url, visibility })
    }

    /// Messages, at once if there are any and else when some come or the wait is over. None when the channel stops:
    /// what is received then is given back, so that nobody has to wait until it is visible again.
    pub async fn receive(&self, reach: &Reach, wait: Duration) -> Option<Result<Vec<Message>, Failure>> {
        let request = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(i32::try_from(wait.as_secs()).unwrap_or_default())
            .visibility_timeout(i32::try_from(self.visibility.as_secs()).unwrap_or_default())
            .message_attribute_names("All");
        let mut receiving = tokio::spawn(async move {
            let answer = request.send().await.map_err(Failure::of("receiving from the queue"))?;
            Ok(answer.messages.unwrap_or_default())
        });
        match reach.unless_stopped(&mut receiving).await {
            // A panic, or the end of the process.
            Some(Err(_)) => None,
            Some(Ok(answer)) => Some(answer),
            None => {
                let queue = self.clone();
                tokio::spawn(async move {
                    if let Ok(Ok(messages)) = receiving.await {
                        queue.give_back(messages);
                    }
                });
                None
            }
        }
    }

    /// Makes messages visible again at once; nobody waits for it.
    pub fn give_back(&self, messages: Vec<Message>) {
        let queue = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = queue.hide(&messages, Duration::ZERO).await {
                // They are visible again when their time is over.
                tracing::debug!(?failure, "failed to give messages back");
            }
        });
    }

    /// Removes messages for good; what fails is received again and known again. When the channel stops, this goes on.
    ///
    /// # Errors
    /// Not all of them are known to be removed.
    pub async fn delete(&self, reach: &Reach, messages: &[Message]) -> Result<(), Failure> {
        let entry = |(index, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build().ok()
        };
        let entries: Vec<_> = messages.iter().enumerate().filter_map(entry).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let request = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let deleting =
            tokio::spawn(async move { request.send().await.map_err(Failure::of("removing from the queue")) });
        match reach.unless_stopped(deleting).await {
            Some(Ok(Err(failure))) => Err(failure),
            _ => Ok(()),
        }
    }

    async fn hide(&self, messages: &[Message], time: Duration) -> Result<(), Failure> {
        let seconds = i32::try_from(time.as_secs()).unwrap_or_default();
        let entry = |(index, message): (usize, &Message)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).visibility_timeout(seconds).build().ok()
        };
        let entries: Vec<_> = messages.iter().enumerate().filter_map(entry).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let request = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        request.send().await.map_err(Failure::of("holding messages of the queue"))?;
        Ok(())
    }

    /// Does the work on received messages, which stay invisible to others as long as it takes.
    pub async fn holding<T>(&self, messages: &[Message], work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let again = (self.visibility / 2).max(Duration::from_millis(500));
        loop {
            match tokio::time::timeout(again, &mut work).await {
                Ok(done) => return done,
                Err(_) => {
                    if let Err(failure) = self.hide(messages, self.visibility).await {
                        // Somebody else may receive them then, and land what is known already.
                        tracing::debug!(?failure, "failed to hold messages");
                    }
                }
            }
        }
    }
}
