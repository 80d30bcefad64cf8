package backendtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

const (
	maxFailures  = 20   // of one broken rule; more would add no information
	maxLineBytes = 1000 // of one failure
)

// Errorf reports a failure, unless the rule has reported many.
func (t *trial) Errorf(format string, args ...any) {
	t.Helper()
	if t.said.Add(1) <= maxFailures {
		t.reporter.Errorf("%s", printable(fmt.Sprintf(format, args...)))
	}
}

// Fatalf reports the failure that ends the rule, however many came before it.
func (t *trial) Fatalf(format string, args ...any) {
	t.Helper()
	t.reporter.Fatalf("%s", printable(fmt.Sprintf(format, args...)))
}

// sayUnsaid reports how many failures Errorf has left out.
func (t *trial) sayUnsaid() {
	t.Helper()
	if more := t.said.Load() - maxFailures; more > 0 {
		t.Logf("and %d more failures of this rule", more)
	}
}

// printable quotes the bytes of a message that a terminal or a log would not show as they
// are, including those of a backend's error, and cuts a long message.
func printable(message string) string {
	var b strings.Builder
	for i, r := range message {
		if b.Len() > maxLineBytes {
			fmt.Fprintf(&b, "... (%d bytes more)", len(message)-i)
			break
		}
		switch size := utf8.RuneLen(r); {
		case r == utf8.RuneError && !strings.HasPrefix(message[i:], "\ufffd"):
			fmt.Fprintf(&b, `\x%02x`, message[i])
		case r == '\n' || size > 0 && unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// A tallyOfRules records which rules are broken.
type tallyOfRules struct {
	mu     sync.Mutex
	broken []string
}

func (l *tallyOfRules) note(name string, broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if broken {
		l.broken = append(l.broken, name)
	}
}

// summary names the broken rules in the order in which to mend them; it is empty if
// every rule is kept.
func (l *tallyOfRules) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.broken) == 0 {
		return ""
	}
	var inOrder []string
	for _, r := range rules() {
		if slices.Contains(l.broken, r.name) {
			inOrder = append(inOrder, r.name)
		}
	}
	return fmt.Sprintf("%d rules of the contract are broken; mend them in this order:\n\t%s", len(inOrder), strings.Join(inOrder, "\n\t"))
}
