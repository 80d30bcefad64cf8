// Package taskotel shows by OpenTelemetry what a server with tasks does: metrics of the
// store and of tasks, and spans of the requests of MCP and of each run of a task.
//
//	telemetry, err := taskotel.New(nil)                 // with the global providers
//	store = telemetry.Backend(store)                    // measures each operation
//	opts := &mcptasks.Options{}
//	telemetry.Observe(opts)                             // tasks and their runs
//	server.AddReceivingMiddleware(telemetry.Middleware()) // requests, after Install
//
// The README of the package lists the spans and the metrics.
//
// # What is never exported
//
// No owner, task id, argument, result, question, answer, message or text of an error is in
// a span or a metric, neither as a name nor as an attribute nor as the description of a
// status; of errors their kind is. Names of tools are attributes. One that a client makes up
// is not: see [Telemetry.Middleware].
package taskotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/taskstore/taskstore/mcptasks"
)

// scope names the package in what it exports.
const scope = "github.com/taskstore/taskstore/otel"

// Options adjusts a Telemetry. The zero value means the global providers of package
// go.opentelemetry.io/otel.
type Options struct {
	TracerProvider trace.TracerProvider
	MeterProvider  metric.MeterProvider
}

// A Telemetry makes spans and metrics of what it is put around. One is enough for a
// process. Its methods may be called by any number of goroutines at once.
type Telemetry struct {
	tracer  trace.Tracer
	metrics instruments
	tools   names
	prompts names
}

// New returns a Telemetry. Nil opts mean the defaults. It fails where the provider refuses
// an instrument.
func New(opts *Options) (*Telemetry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	metrics, err := newInstruments(o.MeterProvider.Meter(scope))
	if err != nil {
		return nil, err
	}
	return &Telemetry{tracer: o.TracerProvider.Tracer(scope), metrics: metrics}, nil
}

// Observe has opts tell of tasks and of their runs, in the place of an Observer and an
// ObserveRun that opts had.
func (t *Telemetry) Observe(opts *mcptasks.Options) {
	opts.Tasks.Observer = t.TasksObserver()
	opts.ObserveRun = t.observeRun
}

// Resent counts what a [taskstore.RedisBackend] sends again: it is for
// [taskstore.RedisOptions].Resent.
//
// [taskstore.RedisBackend]: https://pkg.go.dev/github.com/taskstore/taskstore#RedisBackend
// [taskstore.RedisOptions]: https://pkg.go.dev/github.com/taskstore/taskstore#RedisOptions
func (t *Telemetry) Resent() { t.metrics.resends.Add(context.Background(), 1) }
