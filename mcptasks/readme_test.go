package mcptasks

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskstore/taskstore"
)

// spoken writes a default as the tables of the pages do.
func spoken(value any) string {
	text := fmt.Sprint(value)
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}

// The tables of defaults agree with the code.
func TestDefaultsArePublishedAsTheyAre(t *testing.T) {
	served, err := New(taskstore.NewMemoryBackend(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	o, tasks := served.opts, served.store.Options()
	defaults := map[string]any{
		"Tasks.DefaultTTL": tasks.DefaultTTL, "Tasks.MaxTTL": tasks.MaxTTL, "Tasks.Retention": tasks.Retention,
		"Tasks.PollInterval": tasks.PollInterval, "Tasks.Lease": tasks.Lease,
		"Tasks.MaxTasks": tasks.MaxTasks, "Tasks.MaxActive": tasks.MaxActive,
		"ToolOptions.MaxRuns": defaultMaxRuns, "DrainTimeout": o.DrainTimeout, "Fallback.Wait": o.Fallback.Wait,
		"MaxResumed": o.MaxResumed, "MaxListen": o.MaxListen, "MaxSubscriptions": o.MaxSubscriptions,
		"MaxOwnerSubscriptions": o.MaxOwnerSubscriptions, "RequireNameHeader": o.RequireNameHeader,
	}
	row := regexp.MustCompile("(?m)^\\| `([A-Za-z.]+)` \\| ([^|]+) \\|")
	for page, least := range map[string]int{"../README.md": 9, "../docs/mcp-servers.md": len(defaults)} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, table, ok := strings.Cut(string(text), "\n| option | default | meaning |\n")
		if !ok {
			t.Fatalf("%s has no table of defaults", page)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		rows := row.FindAllStringSubmatch(table, -1)
		if len(rows) < least {
			t.Errorf("%s has %d defaults, fewer than %d", page, len(rows), least)
		}
		for _, r := range rows {
			if value, known := defaults[r[1]]; !known || spoken(value) != r[2] {
				t.Errorf("%s says that %s is %s by default; it is %s", page, r[1], r[2], spoken(value))
			}
		}
	}
}
