package taskstore

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (s scripts) all() []*script {
	return []*script{s.put, s.putAgain, s.putIfVersion, s.putIfVersionAgain, s.updateAlone, s.delete, s.read, s.repair, s.clock}
}

// Every command in every script names its key as one of KEYS, or as a local that
// was set from it. A key that is built in a script would work on one server and
// fail in a Cluster.
func TestScriptsTouchOnlyKEYS(t *testing.T) {
	call := regexp.MustCompile(`redis\.p?call\(([^,()]+)(?:, *([^,()]+))?`)
	for _, s := range newScripts(10, "PUBLISH", "/1", true).all() {
		locals := map[string]bool{}
		for _, m := range regexp.MustCompile(`local ([a-z, ]+) = (KEYS\[\d\](?:, KEYS\[\d\])*)`).FindAllStringSubmatch(s.source, -1) {
			names := strings.Split(m[1], ", ")
			for i := range strings.Split(m[2], ", ") {
				locals[names[i]] = true
			}
		}
		calls := call.FindAllStringSubmatch(s.source, -1)
		require.Equal(t, strings.Count(s.source, "call("), len(calls), "script %s has a call that this test does not understand", s.name)
		for _, m := range calls {
			command, key := m[1], m[2]
			if command == "'TIME'" {
				continue
			}
			if s.name == "updateAlone" && strings.EqualFold(strings.Trim(command, "'"), "publish") && key == "ARGV[5] .. database" {
				continue // a channel, of the owner's slot like all its keys
			}
			fromKeys := locals[key] || regexp.MustCompile(`^KEYS\[(\d|i)\]( \.\. database)?$`).MatchString(key)
			assert.True(t, fromKeys, "script %s: %s names the key %s", s.name, command, key)
		}
		assert.NotContains(t, s.source, "tostring", "script %s: tostring rounds numbers", s.name)
	}
}

func TestEveryBackendWithOneSetUpHasTheSameScripts(t *testing.T) {
	assert.Equal(t, newScripts(10, "PUBLISH", "/1", true), newScripts(10, "PUBLISH", "/1", true))
	assert.NotEqual(t, newScripts(10, "PUBLISH", "/1", true).put.sha, newScripts(11, "PUBLISH", "/1", true).put.sha)
}

func TestDecodeReplyIsStrict(t *testing.T) {
	s := &script{name: "put"}
	good := []struct {
		raw  any
		want reply
	}{
		{"7", reply{status: statusOK, number: 7}},
		{"9223372036854775807", reply{status: statusOK, number: uint64(MaxVersion)}},
		{[]any{"conflict", "0"}, reply{status: statusConflict}},
		{[]any{"full", "12"}, reply{status: statusFull, number: 12}},
		{[]any{"overflow", "9223372036854775807"}, reply{status: statusOverflow, number: uint64(MaxVersion)}},
		{[]any{"corrupt", "why"}, reply{status: statusCorrupt, reason: "why"}},
		{[]any{"conflict", "9999999999999999999"}, reply{status: statusCorrupt, reason: "version is not a number"}},
		{[]any{"overflow", "9999999999999999999"}, reply{status: statusCorrupt, reason: "version is not a number"}},
	}
	for _, c := range good {
		got, err := s.decodeReply(c.raw)
		require.NoError(t, err, "%v", c.raw)
		assert.Equal(t, c.want, got)
	}
	for _, raw := range []any{
		nil, int64(7), "", "x", "07", "-1", "1e+14", "9223372036854775808",
		[]any{}, []any{"ok"}, []any{"full", int64(1)}, []any{"full", "x"}, []any{1, "1"}, []any{"new", "1"}, []any{"ok", "1", "2"},
	} {
		_, err := s.decodeReply(raw)
		assert.ErrorContains(t, err, "script put", "%v", raw)
	}
}
