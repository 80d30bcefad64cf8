package testproc

import "sync"

const TailLimit = 16 << 10

// A Tail keeps the last part of the text written to it. A log in memory leaves no file
// behind, however the test binary ends.
type Tail struct {
	mu      sync.Mutex
	buf     []byte
	written int
}

// Write appends to the tail. Its error is always nil.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += len(p)
	t.buf = append(t.buf, p...)
	if excess := len(t.buf) - TailLimit; excess > 0 {
		t.buf = append(t.buf[:0], t.buf[excess:]...)
	}
	return len(p), nil
}

func (t *Tail) String() string { return t.Since(0) }

// Mark returns the present position, for Since.
func (t *Tail) Mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

// Since returns the text written after a mark, as far as it is kept.
func (t *Tail) Since(mark int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(t.written-mark, len(t.buf))
	return string(t.buf[len(t.buf)-n:])
}
