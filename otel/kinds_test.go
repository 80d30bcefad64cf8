package taskotel_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/mcptasks"
	taskotel "github.com/taskstore/taskstore/otel"
	"github.com/taskstore/taskstore/tasks"
)

// constants returns the texts of those constants in a file that have the prefix in their
// names.
func constants(t *testing.T, path, prefix string) (texts []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		texts = append(texts, text)
		return true
	})
	require.NotEmpty(t, texts)
	return texts
}

// A message by which a store or a server fails a task is a reason of its own, which the
// README lists.
func TestEachMessageIsAReason(t *testing.T) {
	e := newExporter(t)
	s, err := tasks.New(taskstore.NewMemoryBackend(nil), &tasks.Options{Observer: e.TasksObserver()})
	require.NoError(t, err)
	messages := append(constants(t, "../tasks/orphan.go", "Message"), constants(t, "../mcptasks/resume.go", "Message")...)
	for _, message := range messages {
		task, _, err := s.Create(t.Context(), "alice", tasks.CreateParams{})
		require.NoError(t, err)
		_, err = s.Fail(t.Context(), "alice", task.ID, tasks.Error{Message: message})
		require.NoError(t, err)
	}
	ended := e.counts("taskstore.tasks.ended")
	assert.Len(t, ended, len(messages))
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for point := range ended {
		reason, _, _ := strings.Cut(strings.TrimPrefix(point, "reason="), " ")
		assert.NotEqual(t, "error", reason)
		assert.Contains(t, string(readme), "`"+reason+"`")
	}
}

// A limit is counted by a name of its own, from 0 on.
func TestEachLimitIsCounted(t *testing.T) {
	e := newExporter(t)
	limits := constants(t, "../tasks/errors.go", "Limit")
	before := e.counts("taskstore.limits.refused")
	assert.Len(t, before, len(limits))
	for _, limit := range limits {
		e.TasksObserver().Refused(t.Context(), &tasks.LimitError{Limit: tasks.Limit(limit)})
	}
	after := e.counts("taskstore.limits.refused")
	assert.Len(t, after, len(limits))
	for point, n := range after {
		assert.Zero(t, before[point])
		assert.EqualValues(t, 1, n, point)
	}
}

// The span of a run says how the run ended.
func TestTheSpanOfARunHasItsEnd(t *testing.T) {
	for want, end := range map[string]mcptasks.RunEnd{
		"taskstore.task.status=completed":                       {Status: tasks.Completed},
		"error.type=tool_error taskstore.task.status=completed": {Status: tasks.Completed, ToolError: true},
		"error.type=-32042 taskstore.task.status=failed":        {Status: tasks.Failed, Code: -32042},
		"error.type=lease_lost taskstore.task.status=working":   {Status: tasks.Working, Lost: true},
		"taskstore.task.status=working":                         {Status: tasks.Working},
		"taskstore.task.status=cancelled":                       {Status: tasks.Cancelled},
		"error.type=no_task":                                    {},
	} {
		e := newExporter(t)
		var opts mcptasks.Options
		e.Observe(&opts)
		opts.ObserveRun(t.Context(), mcptasks.RunBegin{Tool: "tool", First: true}).Ended(end)
		span := e.one("task tool")
		got := strings.NewReplacer("gen_ai.operation.name=execute_tool ", "", "gen_ai.tool.name=tool ", "", "taskstore.task.resumed=false", "").Replace(attributes(span))
		assert.Equal(t, want, strings.TrimSpace(strings.Join(strings.Fields(got), " ")))
		assert.Equal(t, strings.Contains(want, "error.type"), failed(span), want)
	}
}

// A span that is not sampled is not stored as one to link to.
func TestASpanThatIsNotSampledIsNotNamed(t *testing.T) {
	for sampler, named := range map[trace.Sampler]bool{trace.AlwaysSample(): true, trace.NeverSample(): false} {
		tracers := trace.NewTracerProvider(trace.WithSampler(sampler))
		telemetry, err := taskotel.New(&taskotel.Options{TracerProvider: tracers})
		require.NoError(t, err)
		var opts mcptasks.Options
		telemetry.Observe(&opts)
		ctx, call := tracers.Tracer("test").Start(context.Background(), "call")
		o := opts.ObserveRun(ctx, mcptasks.RunBegin{Tool: "tool", First: true})
		o.Ended(mcptasks.RunEnd{})
		call.End()
		assert.Equal(t, named, o.Trace.Call != "", sampler.Description())
		assert.Equal(t, named, o.Trace.Run != "", sampler.Description())
	}
}

// A server that has no room left is told apart from a limit that a caller has reached: only
// the first is a failure of the store.
func TestAFullServerIsAKindOfItsOwn(t *testing.T) {
	for kind, err := range map[string]error{
		"store_full":        fmt.Errorf("%w: the server is out of memory: %w", taskstore.ErrCapacityExceeded, errors.New("OOM")),
		"capacity_exceeded": fmt.Errorf("refused: %w", &taskstore.CapacityError{Limit: taskstore.LimitRecords}),
	} {
		e := newExporter(t)
		_, _ = e.Backend(failing{err: err}).PutIfVersion(t.Context(), taskstore.Key{}, taskstore.Value{}, 0)
		assert.Equal(t, map[string]int64{"error.type=" + kind + " operation=put_if_version": 1}, e.counts("taskstore.operation.duration"))
	}
}
