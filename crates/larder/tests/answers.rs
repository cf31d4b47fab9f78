//! An answer that must be looked at says so: dropped without a word, the compiler asks about it.
//!
//! The checks are made when this file is compiled: an expected lint that does not come is an error here.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]
#![deny(unfulfilled_lint_expectations)]

use larder::{Cache, Larder, Leased, SECOND, UserCache};

#[tokio::test]
async fn an_answer_that_says_what_was_lost_is_not_dropped_without_a_word() {
    let larder = Larder::builder("test").open().await.unwrap();
    let words: Cache<u32, String> = larder.cache("words").shared().unwrap();
    let lists: UserCache<u32, String> = larder.cache("lists").per_user().unwrap();

    let Leased::Held(lease) = words.lease(&1).await.unwrap() else { unreachable!() };
    #[expect(unused_must_use, reason = "whether it was kept")]
    lease.store("one".to_owned()).await;

    let Leased::Held(lease) = words.lease(&2).await.unwrap() else { unreachable!() };
    #[expect(unused_must_use, reason = "whether it was kept")]
    lease.store_none().await;

    #[expect(unused_must_use, reason = "the right to load, should it be that")]
    words.lease(&3).await.unwrap();

    #[expect(unused_must_use, reason = "each key's failure")]
    words
        .get_or_load_many(&[4], |_| async { Ok::<_, std::io::Error>([(4, "four".to_owned())]) })
        .await;

    #[expect(unused_must_use, reason = "what has ended nothing yet")]
    words.entry(&1);

    #[expect(unused_must_use, reason = "what has ended nothing yet")]
    lists.of("ada").entry(&1);

    #[expect(unused_must_use, reason = "what has ended nothing yet")]
    lists.of("ada").all();

    #[expect(unused_must_use, reason = "whether others may still be served what was ended")]
    larder.invalidate([words.entry(&1)]).await;

    #[expect(unused_must_use, reason = "how many ends were never confirmed")]
    larder.close(SECOND).await;
}
