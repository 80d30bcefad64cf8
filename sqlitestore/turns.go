package sqlitestore

import (
	"errors"
	"os"
)

// turns has the processes that write to a file take turns. SQLite itself has those that
// wait for its lock look again after pauses of up to 100 ms, while the one that has it
// takes it anew at once: of four that write without pause one gets nearly all.
//
// There are two locks of the operating system, which wakes those that wait and frees what
// a process held that died. A writer waits for queue, then for turn, and leaves queue. One
// that has had its turn finds in queue the one who waits for turn, so it comes behind it.
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
