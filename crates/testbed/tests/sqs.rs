//! A server of the SQS API: started, harmed, and strict where SQS is.
#![allow(clippy::unwrap_used, reason = "a test may")]

use testbed::Sqs;

fn queue(sqs: &Sqs, name: &str, attributes: &str) -> String {
    let parameters = format!(r#"{{"QueueName":"{name}","Attributes":{{{attributes}}}}}"#);
    sqs.call("CreateQueue", &parameters).unwrap();
    format!("http://{}/123456789012/{name}", sqs.address())
}

/// The value of a JSON text field; good enough for what the server writes.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = answer.split_once(&format!("\"{name}\""))?;
    rest.split('"').nth(1)
}

#[test]
fn a_message_goes_through_and_a_stale_handle_deletes_nothing() {
    let sqs = Sqs::start().unwrap();
    let queue = queue(&sqs, "standard", "");
    sqs.call("SendMessage", &format!(r#"{{"QueueUrl":"{queue}","MessageBody":"hello"}}"#)).unwrap();
    let receive = || {
        let parameters = format!(
            r#"{{"QueueUrl":"{queue}","VisibilityTimeout":1,"WaitTimeSeconds":5,
            "MaxNumberOfMessages":10}}"#
        );
        let answer = sqs.call("ReceiveMessage", &parameters).unwrap();
        assert_eq!(field(&answer, "Body"), Some("hello"), "{answer}");
        field(&answer, "ReceiptHandle").unwrap().to_owned()
    };
    let delete = |handle: &str| {
        let parameters = format!(r#"{{"QueueUrl":"{queue}","ReceiptHandle":"{handle}"}}"#);
        sqs.call("DeleteMessage", &parameters).unwrap();
    };
    let first = receive();
    let second = receive();
    delete(&first);
    let third = receive();
    assert!(first != second && second != third);
    delete(&third);
    let parameters =
        format!(r#"{{"QueueUrl":"{queue}","VisibilityTimeout":0,"WaitTimeSeconds":2}}"#);
    let answer = sqs.call("ReceiveMessage", &parameters).unwrap();
    assert_eq!(field(&answer, "Body"), None, "{answer}");
}

#[test]
fn a_refusal_is_an_error_that_quotes_it() {
    let sqs = Sqs::start().unwrap();
    let missing = format!(r#"{{"QueueUrl":"http://{}/123456789012/none"}}"#, sqs.address());
    let error = sqs.call("ReceiveMessage", &missing).unwrap_err().to_string();
    assert!(error.contains("QueueDoesNotExist"), "{error}");
}
