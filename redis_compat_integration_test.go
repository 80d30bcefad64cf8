//go:build integration

package taskstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/redistest"
)

// withoutShardedChannels returns the arguments of a server that has no sharded
// channels, of whatever version it is.
func withoutShardedChannels(t *testing.T) []string {
	t.Helper()
	version, err := redistest.ServerVersion()
	require.NoError(t, err)
	if !version.AtLeast(7, 0) {
		return nil
	}
	return []string{"--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", ""}
}
