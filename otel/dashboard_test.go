package taskotel_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"gopkg.in/yaml.v3"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
)

// exported returns the names of all series as Prometheus has them, with those of their
// labels.
func exported(t *testing.T) map[string][]string {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	require.NoError(t, err)
	e := newExporter(t, reader)
	shared := taskstore.NewMemoryBackend(nil)
	dying := &mortal{StorageBackend: shared}
	begun, stuck := make(chan struct{}, 2), make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	tools := func(ts *mcptasks.Tasks, server *mcp.Server) {
		add(ts, server, "tool", func(context.Context, *mcp.CallToolRequest, arguments) (*mcp.CallToolResult, any, error) {
			begun <- struct{}{}
			if dying.dead.Load() {
				return text("done"), nil, nil
			}
			<-stuck
			return nil, nil, nil
		}, &mcptasks.ToolOptions{Retry: true})
	}
	one, two := start(t, e, dying, short(), tools), start(t, e, shared, short(), tools)
	id := one.create(t.Context(), "alice", "tool", nil)
	<-begun
	dying.dead.Store(true)
	two.run()
	two.until(t.Context(), "alice", id, "completed")
	two.call(t.Context(), "alice", "none", nil)
	eventually(t, "a wait for a runner", func() bool { return len(e.counts("taskstore.task.wait")) > 0 })

	series := map[string][]string{}
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				series[f.GetName()] = append(series[f.GetName()], l.GetName())
			}
			if m.Histogram != nil {
				labels := append(series[f.GetName()], "le")
				series[f.GetName()+"_bucket"], series[f.GetName()+"_count"], series[f.GetName()+"_sum"] = labels, labels, labels
			}
		}
	}
	return series
}

var (
	seriesName = regexp.MustCompile(`\b(taskstore|mcp)_\w+`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	matchers   = regexp.MustCompile(`\b((?:taskstore|mcp)_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	legendKey  = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// checkExpression holds an expression to the exported series and labels, and returns the
// series that it names.
func checkExpression(t *testing.T, where, expr string, labels []string, series map[string][]string) []string {
	t.Helper()
	names := seriesName.FindAllString(expr, -1)
	for _, group := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(group[1], ",") {
			labels = append(labels, strings.TrimSpace(label))
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(labels, name) }) // such as mcp_method_name
	assert.NotEmpty(t, names, "%s names no metric: %s", where, expr)
	for _, name := range names {
		assert.Contains(t, series, name, "%s: %s", where, expr)
	}
	for _, label := range labels {
		assert.Contains(t, series[names[0]], label, "%s: %s", where, expr)
	}
	for _, m := range matchers.FindAllStringSubmatch(expr, -1) {
		for _, label := range matcher.FindAllStringSubmatch(m[2], -1) {
			assert.Contains(t, series[m[1]], label[1], "%s: %s", where, expr)
		}
	}
	return names
}

func TestDashboardAndAlertsNameExportedMetrics(t *testing.T) {
	series := exported(t)
	t.Run("dashboard", func(t *testing.T) {
		raw, err := os.ReadFile("../docs/grafana/taskstore.json")
		require.NoError(t, err)
		var dashboard struct {
			Title  string
			Panels []struct {
				Title, Type string
				GridPos     struct{ X, Y, W, H int }
				Targets     []struct{ Expr, LegendFormat string }
			}
			Templating struct {
				List []struct{ Name, Type, Definition string }
			}
		}
		require.NoError(t, json.Unmarshal(raw, &dashboard))
		var shown []string
		for _, p := range dashboard.Panels {
			assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
			assert.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
			for _, target := range p.Targets {
				var labels []string
				for _, key := range legendKey.FindAllStringSubmatch(target.LegendFormat, -1) {
					labels = append(labels, key[1])
				}
				shown = append(shown, checkExpression(t, p.Title, target.Expr, labels, series)...)
			}
		}
		for _, v := range dashboard.Templating.List {
			if v.Type == "query" {
				checkExpression(t, v.Name, v.Definition, []string{v.Name}, series)
			}
		}
		for name := range series {
			if strings.HasPrefix(name, "taskstore_") || strings.HasPrefix(name, "mcp_") {
				family := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_count"), "_sum")
				assert.True(t, slices.ContainsFunc(shown, func(s string) bool { return strings.HasPrefix(s, family) }), "the dashboard shows %s", family)
			}
		}
	})
	t.Run("alerts", func(t *testing.T) {
		raw, err := os.ReadFile("../docs/grafana/alerts.yml")
		require.NoError(t, err)
		var file struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr, For string
					Labels           map[string]string
					Annotations      map[string]string
				}
			}
		}
		require.NoError(t, yaml.Unmarshal(raw, &file))
		rules := 0
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				rules++
				assert.NotEmpty(t, r.Alert)
				assert.NotEmpty(t, r.Labels["severity"], r.Alert)
				assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
				if r.For != "" {
					_, err := time.ParseDuration(r.For)
					assert.NoError(t, err, r.Alert)
				}
				checkExpression(t, r.Alert, r.Expr, nil, series)
			}
		}
		assert.Equal(t, 4, rules)
	})
}

// Prometheus itself says whether the alerts fire when they should.
func TestAlertsFireInTroubleOnly(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is missing; on Debian: apt-get install prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "../docs/grafana/alerts.yml"}, {"test", "rules", "testdata/alerts_test.yml"}} {
		out, err := exec.Command(promtool, args...).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	}
}
