package redislink

import (
	"crypto/sha1"
	"encoding/hex"
)

// A Script is Lua as it is sent, with its digest for EVALSHA.
type Script struct {
	Name, Source string
	SHA          []byte
	Writes       int64 // most writes in a batch; 0: a refusal has no index
}

// NewScript returns the script of that source. Errors name the script.
func NewScript(name, source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{Name: name, Source: source, SHA: hex.AppendEncode(nil, sum[:])}
}
