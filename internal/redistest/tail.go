package redistest

import "sync"

const tailLimit = 16 << 10

// tail keeps the last part of what is written to it. A log in memory leaves no
// file behind, whatever becomes of the test binary.
type tail struct {
	mu      sync.Mutex
	buf     []byte
	written int
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written += len(p)
	t.buf = append(t.buf, p...)
	if excess := len(t.buf) - tailLimit; excess > 0 {
		t.buf = append(t.buf[:0], t.buf[excess:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.since(0) }

// mark returns the present position, for since.
func (t *tail) mark() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

// since returns what was written after a mark, as far as it is kept.
func (t *tail) since(mark int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(t.written-mark, len(t.buf))
	return string(t.buf[len(t.buf)-n:])
}
