package memo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"
)

// Encode writes a value in a form that only Decode of the same program reads, several times as fast as JSON. Equal
// values give equal bytes. It takes booleans, numbers, strings, and slices, maps with string keys, pointers and structs
// with exported fields of these; a type that contains itself is refused.
func Encode(v any) ([]byte, error) {
	value := reflect.ValueOf(v)
	c, err := codecOf(value.Type())
	if err != nil {
		return nil, err
	}
	return c.write(nil, value), nil
}

// Decode reads into v, a pointer to the zero value, what Encode made of a value of its type. Of anything else v is of no
// use.
func Decode(b []byte, v any) error {
	value := reflect.ValueOf(v).Elem()
	c, err := codecOf(value.Type())
	if err != nil {
		return err
	}
	in := input{left: b}
	c.read(&in, value)
	if in.bad || len(in.left) > 0 {
		return errors.New("malformed value")
	}
	return nil
}

// codec writes and reads values of one type.
type codec struct {
	write func([]byte, reflect.Value) []byte
	read  func(*input, reflect.Value)
}

// input is what is left to read; after the first thing that is not there, nothing.
type input struct {
	left []byte
	bad  bool
}

func (in *input) number() uint64 {
	n, size := binary.Uvarint(in.left)
	if size <= 0 {
		in.left, in.bad = nil, true
		return 0
	}
	in.left = in.left[size:]
	return n
}

// length is how many elements follow, each of a byte at least.
func (in *input) length() int {
	n := in.number()
	if n > uint64(len(in.left)) {
		in.left, in.bad = nil, true
		return 0
	}
	return int(n)
}

func (in *input) text() string {
	n := in.length()
	s := string(in.left[:n])
	in.left = in.left[n:]
	return s
}

// count is the length of a slice or map, which may be nil.
func (in *input) count() (n int, there bool) {
	if in.number() == 0 {
		return 0, false
	}
	return in.length(), true
}

func appendCount(b []byte, v reflect.Value) []byte {
	if v.IsNil() {
		return append(b, 0)
	}
	return binary.AppendUvarint(append(b, 1), uint64(v.Len()))
}

var codecs sync.Map // reflect.Type to codec

func codecOf(t reflect.Type) (codec, error) {
	if c, ok := codecs.Load(t); ok {
		return c.(codec), nil
	}
	c, err := newCodec(t, nil)
	if err == nil {
		codecs.Store(t, c)
	}
	return c, err
}

// newCodec makes the codec of a type that lies in others.
func newCodec(t reflect.Type, in []reflect.Type) (codec, error) {
	if slices.Contains(in, t) {
		return codec{}, fmt.Errorf("type %v contains itself", t)
	}
	in = append(slices.Clip(in), t)
	switch t.Kind() {
	case reflect.Bool:
		return codec{
			func(b []byte, v reflect.Value) []byte {
				if v.Bool() {
					return append(b, 1)
				}
				return append(b, 0)
			},
			func(in *input, v reflect.Value) { v.SetBool(in.number() != 0) },
		}, nil
	case reflect.String:
		return codec{
			func(b []byte, v reflect.Value) []byte {
				return append(binary.AppendUvarint(b, uint64(v.Len())), v.String()...)
			},
			func(in *input, v reflect.Value) { v.SetString(in.text()) },
		}, nil
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		return codec{
			func(b []byte, v reflect.Value) []byte { return binary.AppendUvarint(b, uint64(v.Int())) },
			func(in *input, v reflect.Value) { v.SetInt(int64(in.number())) },
		}, nil
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		return codec{
			func(b []byte, v reflect.Value) []byte { return binary.AppendUvarint(b, v.Uint()) },
			func(in *input, v reflect.Value) { v.SetUint(in.number()) },
		}, nil
	case reflect.Float64, reflect.Float32:
		return codec{
			func(b []byte, v reflect.Value) []byte { return binary.AppendUvarint(b, math.Float64bits(v.Float())) },
			func(in *input, v reflect.Value) { v.SetFloat(math.Float64frombits(in.number())) },
		}, nil
	case reflect.Pointer:
		return pointerCodec(t, in)
	case reflect.Slice:
		return sliceCodec(t, in)
	case reflect.Map:
		return mapCodec(t, in)
	case reflect.Struct:
		return structCodec(t, in)
	}
	return codec{}, fmt.Errorf("type %v cannot be encoded", t)
}

func pointerCodec(t reflect.Type, in []reflect.Type) (codec, error) {
	elem, err := newCodec(t.Elem(), in)
	return codec{
		func(b []byte, v reflect.Value) []byte {
			if v.IsNil() {
				return append(b, 0)
			}
			return elem.write(append(b, 1), v.Elem())
		},
		func(in *input, v reflect.Value) {
			if in.number() == 0 {
				return
			}
			v.Set(reflect.New(t.Elem()))
			elem.read(in, v.Elem())
		},
	}, err
}

func sliceCodec(t reflect.Type, in []reflect.Type) (codec, error) {
	if t.Elem().Kind() == reflect.Uint8 {
		return bytesCodec, nil
	}
	elem, err := newCodec(t.Elem(), in)
	return codec{
		func(b []byte, v reflect.Value) []byte {
			b = appendCount(b, v)
			for i := range v.Len() {
				b = elem.write(b, v.Index(i))
			}
			return b
		},
		func(in *input, v reflect.Value) {
			n, there := in.count()
			if !there {
				return
			}
			v.Set(reflect.MakeSlice(t, n, n))
			for i := 0; i < n && !in.bad; i++ {
				elem.read(in, v.Index(i))
			}
		},
	}, err
}

// bytesCodec is that of byte slices.
var bytesCodec = codec{
	func(b []byte, v reflect.Value) []byte { return append(appendCount(b, v), v.Bytes()...) },
	func(in *input, v reflect.Value) {
		n, there := in.count()
		if there {
			v.SetBytes(in.left[:n:n])
			in.left = in.left[n:]
		}
	},
}

func mapCodec(t reflect.Type, in []reflect.Type) (codec, error) {
	if t.Key().Kind() != reflect.String {
		return codec{}, fmt.Errorf("type %v cannot be encoded", t)
	}
	elem, err := newCodec(t.Elem(), in)
	write := func(b []byte, v reflect.Value) []byte {
		b = appendCount(b, v)
		byName := make(map[string]reflect.Value, v.Len())
		for key, value := range v.Seq2() {
			byName[key.String()] = value
		}
		for _, name := range slices.Sorted(maps.Keys(byName)) {
			b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
			b = elem.write(b, byName[name])
		}
		return b
	}
	read := func(in *input, v reflect.Value) {
		n, there := in.count()
		if !there {
			return
		}
		m := reflect.MakeMapWithSize(t, n)
		key, value := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
		for i := 0; i < n && !in.bad; i++ {
			key.SetString(in.text())
			value.SetZero()
			elem.read(in, value)
			m.SetMapIndex(key, value)
		}
		v.Set(m)
	}
	return codec{write, read}, err
}

func structCodec(t reflect.Type, in []reflect.Type) (codec, error) {
	fields := make([]codec, t.NumField())
	for i := range fields {
		if !t.Field(i).IsExported() {
			return codec{}, fmt.Errorf("type %v has the unexported field %s", t, t.Field(i).Name)
		}
		var err error
		if fields[i], err = newCodec(t.Field(i).Type, in); err != nil {
			return codec{}, err
		}
	}
	return codec{
		func(b []byte, v reflect.Value) []byte {
			for i, f := range fields {
				b = f.write(b, v.Field(i))
			}
			return b
		},
		func(in *input, v reflect.Value) {
			for i, f := range fields {
				f.read(in, v.Field(i))
			}
		},
	}, nil
}
