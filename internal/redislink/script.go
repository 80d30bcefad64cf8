package redislink

import (
	"crypto/sha1"
	"encoding/hex"
)

// A Script is Lua as it is sent, with the digest that EVALSHA names it by.
type Script struct {
	Name, Source string
	SHA          []byte
	Writes       int64 // how many a batch may have; 0: a refusal names none
}

// NewScript returns the script of that source. Its name is for errors.
func NewScript(name, source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{Name: name, Source: source, SHA: hex.AppendEncode(nil, sum[:])}
}
