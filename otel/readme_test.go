package taskotel_test

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	taskotel "github.com/taskstore/taskstore/otel"
)

// A listing meter writes down the instruments that are made, with their units.
type listing struct {
	noop.Meter
	units map[string]string
}

func (l *listing) Int64Counter(name string, opts ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	l.units[name] = metric.NewInt64CounterConfig(opts...).Unit()
	return noop.Int64Counter{}, nil
}

func (l *listing) Int64UpDownCounter(name string, opts ...metric.Int64UpDownCounterOption) (metric.Int64UpDownCounter, error) {
	l.units[name] = metric.NewInt64UpDownCounterConfig(opts...).Unit()
	return noop.Int64UpDownCounter{}, nil
}

func (l *listing) Float64Histogram(name string, opts ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	l.units[name] = metric.NewFloat64HistogramConfig(opts...).Unit()
	return noop.Float64Histogram{}, nil
}

// A provider has one meter.
type provider struct {
	noop.MeterProvider
	meter *listing
}

func (p provider) Meter(string, ...metric.MeterOption) metric.Meter { return p.meter }

func TestREADMEListsTheMetrics(t *testing.T) {
	l := &listing{units: map[string]string{}}
	_, err := taskotel.New(&taskotel.Options{MeterProvider: provider{meter: l}})
	require.NoError(t, err)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	listed := map[string]string{}
	for _, line := range regexp.MustCompile("(?m)^\\| `([a-z._]+)` \\| `([^`]+)` \\|").FindAllStringSubmatch(string(readme), -1) {
		listed[line[1]] = line[2]
	}
	assert.Equal(t, l.units, listed)
}
