//! What a client without an account can learn.

use std::time::Instant;

use end_to_end::{Person, Platform};

use crate::{OPEN, town::OWNER};

/// Neither status nor text reveals who has an account; the response times are printed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "uses real parts: script/test"]
async fn nobody_learns_who_has_an_account() {
    // A mail server that is down: password reset and sign-up must behave alike.
    let extra = format!(
        "{OPEN}[accounts.mail]\nserver = \"smtp+plain://127.0.0.1:9\"\nfrom = \"claws@example.com\"\n"
    );
    let platform = Platform::start(16, &[], &extra).await;
    Person::user(&platform, OWNER).await;
    let nobody = Person::nobody(&platform);
    let emails = [OWNER, "other@example.com"];
    for (path, tries) in [("/sign-in", 7), ("/reset", 4), ("/sign-up", 1)] {
        let (mut answers, mut times) = ([vec![], vec![]], [vec![], vec![]]);
        // Alternately, so that other load on the host slows both.
        for (who, email) in (0..tries).flat_map(|_| emails.iter().enumerate()) {
            let clock = Instant::now();
            let form = [("email", *email), ("password", "some other words")];
            let answer = nobody.post(path, &form).await;
            let (status, headers) = (answer.status(), answer.headers().len());
            let text = answer.text().await.unwrap().replace(email, "EMAIL");
            times[who].push(clock.elapsed());
            answers[who].push((status, headers, text));
        }
        assert_eq!(answers[0], answers[1], "{path}");
        for (who, times) in times.iter_mut().enumerate() {
            times.sort();
            let median = times[tries / 2].as_secs_f64() * 1000.0;
            println!("{path} as {}: {median:.1} ms", emails[who]);
        }
    }
}
