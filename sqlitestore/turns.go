package sqlitestore

import (
	"errors"
	"os"
)

// turns makes the processes that write to a file take turns. SQLite alone is not fair: a
// process that waits for its lock polls it with pauses of up to 100 ms, while the holder
// takes the lock again at once. Of four processes that write without pause, one gets nearly
// all turns.
//
// turns uses two locks of the operating system, which wakes waiters and frees the locks of
// a process that died. A writer waits for queue, then for turn, and releases queue. A
// writer that wants its next turn finds queue held by the waiter for turn, and so comes
// after it.
type turns struct {
	queue, turn *os.File
}

func openTurns(path string) (*turns, error) {
	queue, err := os.OpenFile(path+"-queue", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	turn, err := os.OpenFile(path+"-turn", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		queue.Close()
		return nil, err
	}
	return &turns{queue, turn}, nil
}

// take waits for the turn.
func (t *turns) take() error {
	if err := lock(t.queue); err != nil {
		return err
	}
	return errors.Join(lock(t.turn), unlock(t.queue))
}

// pass ends the turn.
func (t *turns) pass() error { return unlock(t.turn) }

func (t *turns) close() error { return errors.Join(t.queue.Close(), t.turn.Close()) }
