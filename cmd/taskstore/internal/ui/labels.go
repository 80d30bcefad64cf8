package ui

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"sync"
)

// labels are short names that stand for owners without revealing them. An owner keeps its
// label while the command runs; the next run has other labels.
type labels struct {
	key []byte

	mu     sync.Mutex
	owners map[string]string // by label; the owners of the latest look
}

func newLabels() *labels {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // always succeeds
	return &labels{key: key}
}

var labelEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

func (l *labels) of(owner string) string {
	mac := hmac.New(sha256.New, l.key)
	mac.Write([]byte(owner))
	return strings.ToLower(labelEncoding.EncodeToString(mac.Sum(nil)[:5]))
}

// keep replaces the known owners.
func (l *labels) keep(owners []string) {
	named := make(map[string]string, len(owners))
	for _, owner := range owners {
		named[l.of(owner)] = owner
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners = named
}

// owner returns the owner with the label, "" if the latest look found no such owner.
func (l *labels) owner(label string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owners[label]
}
