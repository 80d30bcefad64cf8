package taskstore

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redislink"
)

func (s scripts) all() []*redislink.Script {
	return []*redislink.Script{s.put, s.putAgain, s.putIfVersion, s.putIfVersionAgain, s.updateAlone, s.batch, s.batchAgain, s.delete, s.read, s.repair, s.clock}
}

// Every command in every script names its key as one of KEYS, or as a local that
// was set from it. A key that is built in a script would work on one server and
// fail in a Cluster.
func TestScriptsTouchOnlyKEYS(t *testing.T) {
	call := regexp.MustCompile(`redis\.p?call\(([^,()]+)(?:, *([^,()]+(?:\(\w+\))?))?`)
	for _, s := range newScripts(10, "PUBLISH", "/1", true).all() {
		locals := map[string]bool{}
		if set := regexp.MustCompile(`(?m)^.*records(?: =|\[).*$`).FindAllString(s.Source, -1); set != nil {
			assert.Equal(t, []string{"local fresh, records = true, {}", "  records[nth] = KEYS[3 * nth - 2]"}, set, "script %s", s.Name)
			locals["unpack(records)"] = true
		}
		for _, m := range regexp.MustCompile(`local ([a-z, ]+) = (KEYS\[[^\]]+\](?:, KEYS\[[^\]]+\])*)`).FindAllStringSubmatch(s.Source, -1) {
			names := strings.Split(m[1], ", ")
			for i := range strings.Split(m[2], ", ") {
				locals[names[i]] = true
			}
		}
		calls := call.FindAllStringSubmatch(s.Source, -1)
		require.Equal(t, strings.Count(s.Source, "call("), len(calls), "script %s has a call that this test does not understand", s.Name)
		for _, m := range calls {
			command, key := m[1], m[2]
			if command == "'TIME'" {
				continue
			}
			if s.Name == "updateAlone" && strings.EqualFold(strings.Trim(command, "'"), "publish") && key == "ARGV[5] .. database" {
				continue // a channel, of the owner's slot like all its keys
			}
			fromKeys := locals[key] || regexp.MustCompile(`^KEYS\[(\d|i|3 \* nth - 1)\]( \.\. database)?$`).MatchString(key)
			assert.True(t, fromKeys, "script %s: %s names the key %s", s.Name, command, key)
		}
		assert.NotContains(t, s.Source, "tostring", "script %s: tostring rounds numbers", s.Name)
	}
}

func TestEveryBackendWithOneSetUpHasTheSameScripts(t *testing.T) {
	assert.Equal(t, newScripts(10, "PUBLISH", "/1", true), newScripts(10, "PUBLISH", "/1", true))
	assert.NotEqual(t, newScripts(10, "PUBLISH", "/1", true).put.SHA, newScripts(11, "PUBLISH", "/1", true).put.SHA)
}
