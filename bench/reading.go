package main

// reading says what the figures do not say of themselves: why some targets are
// missed, and what it would take. Look at it again when figures change.
const reading = `- **One caller.** Client and server wait for each other, and how long a wait takes is a matter of which core has to wake up. On a machine that is busy
  anyway a call of raw go-redis takes 30 µs, on one that sleeps in between 100 µs and more; its rate changes by a factor of two from run to run.
- **A ctx that can end.** go-redis does not heed it while it waits for an answer; taskstore does, by having the command run on another
  goroutine, which is kept for the next one. With many callers that costs next to nothing. With one caller it makes the runtime wake up another thread,
  which takes 40 µs on two cores that the server shares: nothing beside a network, and half the rate on loopback. Automatic pipelining does the same and pays
  the same. With a ctx that cannot end the command runs on the caller's goroutine, at the rate of raw go-redis. This is also where the model and valkeyrie's
  commands come ahead of the update of one caller: they do not heed ctx. A client whose waiting could be interrupted would take the difference away.
- **Lists.** The ratio to the model is that of round trips to work, so the faster a round trip the smaller the ratio: on two cores it was 28 for 1,000 tasks
  on the idle machine, with 119 µs for a round trip, and 7 on the busy one, with 28 µs. The row of pipelines of HMGET, which make nothing of the answers,
  is as far as go-redis gets.
- **Automatic pipelining** pays where many call at once: client and server make fewer system calls. With one caller it costs no more than the goroutine
  that it replaces. It is an option, and not the default, because go-redis calls it experimental, because calls of one batch wait for each other,
  and because it cannot say of a write whose ctx ended in the queue that it was not sent.
- **Creates and deletes** cost more than those of stores that keep a value alone: two indexes that are exact and in order, the owner's limit and the
  write's own id are part of them, in one script. Without exact lists, limits and resending they would be as cheap.
- **Updates without an expiry.** What saves most against the model's script is that an expiry which stays is not set again; without one there is
  nothing to save, and what is left over is the hint to watchers and the ids by which a resent write is recognised.
- **Short lists.** Ours takes two round trips, of which the second also finds what moved meanwhile. asynq's is one script that reads everything, while
  no other command runs: that is right for ten tasks and wrong for many. A second way for small owners would have to be as exact.
- **tasks/get over HTTP on Redis.** On loopback the one round trip to the server takes about as long as all of HTTP, JSON and the SDK, which the constant
  has too. Only a cache in the process would save it, and it would show other replicas' changes late.
`
