// Writes the table of Talos's configuration documents (xtask/data/talos-config.txt) from source trees of siderolabs/talos:
//
//	go run .ci/talos-config.go 1.9=PATH[,omnictl=N] … > xtask/data/talos-config.txt
//
// Each argument is a column: its name, a tree that holds pkg/machinery, and the minors of omnictl that are built with it.
// Only names, types and methods are read from the trees; no line of them reaches the table.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const machinery = "github.com/siderolabs/talos/pkg/machinery/"

// Types that decode themselves, and types of other modules, by the name that the table uses.
var known = map[string]string{
	"cel.Expression": "cel", "config/machine.Type": "machinetype",
	"config/types/block.ByteSize": "bytesize", "config/types/block.PercentageSize": "percentage", "config/types/block.Size": "size",
	"config/types/meta.ArgValue": "arg", "config/types/meta.URL": "url", "config/types/meta.Addr": "addr",
	"config/types/meta.Prefix": "prefix", "config/types/meta.AddrPort": "addrport", "config/types/meta.Unstructured": "object",
	"config/types/network.Addr": "addr", "config/types/network.Prefix": "prefix", "config/types/network.AddrPort": "addrport",
	"config/types/network.PortRange": "portrange", "config/types/v1alpha1.Base64Bytes": "base64",
	"config/types/v1alpha1.DiskSize": "disksize", "config/types/v1alpha1.InstallDiskSizeMatcher": "diskmatch",
	"config/types/v1alpha1.Endpoint": "endpoint", "config/types/v1alpha1.ArgValue": "arg", "config/types/v1alpha1.Unstructured": "object",
	"config/types/v1alpha1.ClusterInlineManifests": "[]v1alpha1.ClusterInlineManifest",
	"nethelpers.HardwareAddr":                      "mac", "nethelpers.FailOverMAC": "failovermac", "yamlutils.StringBytes": "text",
	"time.Duration": "duration", "os.FileMode": "uint32", "net/netip.Addr": "addr", "net/netip.Prefix": "prefix", "net/netip.AddrPort": "addrport",
	"github.com/siderolabs/crypto/x509.PEMEncodedCertificateAndKey": "x509.CertificateAndKey",
	"github.com/siderolabs/crypto/x509.PEMEncodedCertificate":       "x509.Certificate",
	"github.com/siderolabs/crypto/x509.PEMEncodedKey":               "x509.Key",
}

// The structs of other modules.
var foreign = map[string][]field{
	"x509.CertificateAndKey": {{key: "crt", typ: "base64"}, {key: "key", typ: "base64key"}},
	"x509.Certificate":       {{key: "crt", typ: "base64"}},
	"x509.Key":               {{key: "key", typ: "base64key"}},
}

// The names of routing tables, which are mostly numbers.
var numbers = func() string {
	var all []string
	for n := 1; n <= 252; n++ {
		all = append(all, strconv.Itoa(n))
	}
	return strings.Join(all, "|")
}()

type field struct {
	key, typ      string
	required, old bool
}

type pkg struct {
	types   map[string]ast.Expr
	files   map[string]*ast.File // of each type
	docs    map[string]string
	consts  map[string]ast.Expr
	vars    map[string]ast.Expr
	methods map[string]map[string]*ast.FuncDecl
	inits   []*ast.FuncDecl
	funcs   map[string]*ast.FuncDecl
}

type tree struct {
	root string
	pkgs map[string]*pkg
	// Results.
	structs map[string][]field
	enums   map[string]string
	docs    map[string]string
	sets    []string // of documents that exclude each other
}

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(1)
}

func (t *tree) pkg(dir string) *pkg {
	if p, ok := t.pkgs[dir]; ok {
		return p
	}
	p := &pkg{map[string]ast.Expr{}, map[string]*ast.File{}, map[string]string{}, map[string]ast.Expr{}, map[string]ast.Expr{},
		map[string]map[string]*ast.FuncDecl{}, nil, map[string]*ast.FuncDecl{}}
	t.pkgs[dir] = p
	keep := func(info fs.FileInfo) bool { return !strings.HasSuffix(info.Name(), "_test.go") }
	parsed, err := parser.ParseDir(token.NewFileSet(), filepath.Join(t.root, "pkg/machinery", dir), keep, parser.ParseComments)
	if err != nil {
		fail("%s: %v", dir, err)
	}
	for _, source := range parsed {
		for _, file := range source.Files {
			for _, decl := range file.Decls {
				p.add(file, decl)
			}
		}
	}
	return p
}

func (p *pkg) add(file *ast.File, decl ast.Decl) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		switch {
		case d.Recv != nil:
			name := base(d.Recv.List[0].Type)
			if p.methods[name] == nil {
				p.methods[name] = map[string]*ast.FuncDecl{}
			}
			p.methods[name][d.Name.Name] = d
		case d.Name.Name == "init":
			p.inits = append(p.inits, d)
		default:
			p.funcs[d.Name.Name] = d
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				p.types[s.Name.Name], p.files[s.Name.Name] = s.Type, file
				p.docs[s.Name.Name] = d.Doc.Text() + s.Doc.Text()
			case *ast.ValueSpec:
				for i, name := range s.Names {
					if i < len(s.Values) {
						p.consts[name.Name] = s.Values[i]
					}
				}
			}
		}
	}
}

func base(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return base(e.X)
	case *ast.Ident:
		return e.Name
	case *ast.IndexExpr:
		return base(e.X)
	}
	return ""
}

// The text of a constant string, the slice of one included.
func (t *tree) text(p *pkg, expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(e.Value); err == nil {
			return s
		}
	case *ast.Ident:
		return t.text(p, p.consts[e.Name])
	case *ast.SliceExpr:
		low, _ := strconv.Atoi(e.Low.(*ast.BasicLit).Value)
		high, _ := strconv.Atoi(e.High.(*ast.BasicLit).Value)
		return t.text(p, e.X)[low:high]
	}
	return ""
}

func imported(file *ast.File, name string) string {
	for _, spec := range file.Imports {
		full, _ := strconv.Unquote(spec.Path.Value)
		if spec.Name != nil && spec.Name.Name == name || spec.Name == nil && path.Base(full) == name {
			return full
		}
	}
	for _, spec := range file.Imports { // A name that differs from the folder: net/netip, yaml/v4.
		if full, _ := strconv.Unquote(spec.Path.Value); strings.Contains(full, name) {
			return full
		}
	}
	return name
}

func (t *tree) typ(dir string, file *ast.File, expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return t.typ(dir, file, e.X)
	case *ast.ParenExpr:
		return t.typ(dir, file, e.X)
	case *ast.ArrayType:
		elem := t.typ(dir, file, e.Elt)
		if elem == "uint8" {
			return "bytes"
		}
		return "[]" + elem
	case *ast.MapType:
		if key := t.typ(dir, file, e.Key); key != "string" {
			fail("a map with keys of type %s in %s", key, dir)
		}
		return "{}" + t.typ(dir, file, e.Value)
	case *ast.InterfaceType:
		return "any"
	case *ast.SelectorExpr:
		full := imported(file, e.X.(*ast.Ident).Name)
		if inner, ok := strings.CutPrefix(full, machinery); ok {
			return t.named(inner, e.Sel.Name)
		}
		if name, ok := known[full+"."+e.Sel.Name]; ok {
			if fields, ok := foreign[name]; ok {
				t.structs[name] = fields
			}
			return name
		}
		fail("the type %s.%s is not known: add it", full, e.Sel.Name)
	case *ast.Ident:
		switch e.Name {
		case "bool", "string", "any", "float32", "float64", "int", "int8", "int16", "int32", "int64", "uint", "uint8", "uint16",
			"uint32", "uint64":
			return e.Name
		case "byte":
			return "uint8"
		case "error":
			return "any"
		}
		return t.named(dir, e.Name)
	}
	fail("an expression of %T in %s", expr, dir)
	return ""
}

func (t *tree) named(dir, name string) string {
	if short, ok := known[dir+"."+name]; ok {
		if elem, ok := strings.CutPrefix(short, "[]v1alpha1."); ok {
			t.named(dir, elem)
		}
		return short
	}
	p := t.pkg(dir)
	expr, ok := p.types[name]
	if !ok {
		fail("no type %s in %s", name, dir)
	}
	methods := p.methods[name]
	if methods["UnmarshalYAML"] != nil || methods["UnmarshalText"] != nil {
		return t.enum(dir, name)
	}
	if _, ok := expr.(*ast.StructType); !ok {
		return t.typ(dir, p.files[name], expr)
	}
	short := path.Base(dir) + "." + strings.TrimSuffix(name, "V1Alpha1")
	if _, done := t.structs[short]; !done {
		t.structs[short] = nil
		t.structs[short] = t.fields(dir, name)
	}
	return short
}

func (t *tree) enum(dir, name string) string {
	p := t.pkg(dir)
	short := path.Base(dir) + "." + name
	// Flags are lists of the names of their enum.
	if flag := strings.TrimSuffix(name, "s"); flag != name && p.types[flag] != nil {
		t.enum(dir, flag)
		return "flags:" + path.Base(dir) + "." + flag
	}
	names, ok := p.consts["_"+name+"NameToValueMap"].(*ast.CompositeLit)
	if !ok {
		fail("%s.%s decodes itself: teach the table how", dir, name)
	}
	var values []string
	for _, elt := range names.Elts {
		if value := t.text(p, elt.(*ast.KeyValueExpr).Key); !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	t.enums[short] = strings.Replace(strings.Join(values, "|"), numbers, "1..252", 1)
	return "enum:" + short
}

func (t *tree) fields(dir, name string) (fields []field) {
	p := t.pkg(dir)
	old := strings.Contains(p.docs[name], "Deprecated:")
	for _, f := range p.types[name].(*ast.StructType).Fields.List {
		tag := ""
		if f.Tag != nil {
			raw, _ := strconv.Unquote(f.Tag.Value)
			tag = reflect.StructTag(raw).Get("yaml")
		}
		key, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		if strings.Contains(options, "inline") {
			if base(f.Type) == "" && t.typ(dir, p.files[name], f.Type) == "meta.Meta" {
				continue // apiVersion and kind, which every document but v1alpha1 has
			}
			inner := t.typ(dir, p.files[name], f.Type)
			if t.structs[inner] == nil {
				fail("%s.%s has %s inline", dir, name, inner)
			}
			fields = append(fields, t.structs[inner]...)
			continue
		}
		if key == "" && len(f.Names) > 0 && f.Names[0].IsExported() {
			key = strings.ToLower(f.Names[0].Name)
		}
		if key == "" {
			continue
		}
		doc := f.Doc.Text()
		required := strings.Contains(doc, "schemaRequired: true")
		fields = append(fields, field{key, t.typ(dir, p.files[name], f.Type), required, old || strings.Contains(strings.ToLower(doc), "deprecated")})
	}
	return fields
}

func read(root string) *tree {
	t := &tree{root, map[string]*pkg{}, map[string][]field{}, map[string]string{}, map[string]string{}, nil}
	dirs, _ := filepath.Glob(filepath.Join(root, "pkg/machinery/config/types/*"))
	for _, full := range append(dirs, filepath.Join(root, "pkg/machinery/config/types/runtime/extensions")) {
		if info, err := os.Stat(full); err != nil || !info.IsDir() {
			continue
		}
		dir, _ := filepath.Rel(filepath.Join(root, "pkg/machinery"), full)
		p := t.pkg(dir)
		for _, init := range p.inits {
			ast.Inspect(init, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "Register" {
					t.document(dir, p, call)
				}
				return true
			})
		}
	}
	if len(t.docs) == 0 {
		fail("%s: no pkg/machinery with documents", root)
	}
	return t
}

func (t *tree) document(dir string, p *pkg, call *ast.CallExpr) {
	kind := t.text(p, call.Args[0])
	ast.Inspect(call.Args[1], func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		name := base(lit.Type)
		t.docs[kind] = t.named(dir, name)
		if conflicts := p.methods[name]["ConflictsWithKinds"]; conflicts != nil {
			set := append(t.conflicts(p, conflicts), kind)
			sort.Strings(set)
			t.sets = append(t.sets, strings.Join(set, "|"))
		}
		return false
	})
	if t.docs[kind] == "" {
		fail("%s: no type for the document %s", dir, kind)
	}
}

func (t *tree) conflicts(p *pkg, method *ast.FuncDecl) (kinds []string) {
	ast.Inspect(method, func(n ast.Node) bool {
		switch e := n.(type) {
		case *ast.CallExpr:
			if fun, ok := e.Fun.(*ast.Ident); ok && p.funcs[fun.Name] != nil {
				self := t.text(p, e.Args[0])
				for _, kind := range t.conflicts(p, p.funcs[fun.Name]) {
					if kind != self {
						kinds = append(kinds, kind)
					}
				}
				return false
			}
		case *ast.CompositeLit:
			for _, elt := range e.Elts {
				kinds = append(kinds, t.text(p, elt))
			}
			return false
		}
		return true
	})
	return kinds
}

// The columns that have a value, as ranges of names: ` @1.12b-1.13,1.14b-`; nothing if all have it.
func ranges(have []bool, names []string) string {
	var parts []string
	for i := 0; i < len(have); i++ {
		if !have[i] {
			continue
		}
		from := i
		for i+1 < len(have) && have[i+1] {
			i++
		}
		low, high := names[from], names[i]
		if i == len(have)-1 {
			high = ""
		}
		if from == 0 && high == "" {
			return ""
		}
		parts = append(parts, low+"-"+high)
	}
	return " @" + strings.Join(parts, ",")
}

// Lines of one thing, each with the columns in which it holds.
type lines struct {
	order []string
	have  map[string][]bool
}

func (l *lines) add(text string, column, columns int) {
	if l.have == nil {
		l.have = map[string][]bool{}
	}
	if l.have[text] == nil {
		l.have[text] = make([]bool, columns)
		l.order = append(l.order, text)
	}
	l.have[text][column] = true
}

func main() {
	var names, sources []string
	var trees []*tree
	for _, arg := range os.Args[1:] {
		name, rest, ok := strings.Cut(arg, "=")
		root, omnictl, _ := strings.Cut(rest, ",")
		if !ok {
			fail("usage: go run .ci/talos-config.go NAME=PATH[,omnictl=N+M] …")
		}
		names, trees = append(names, name), append(trees, read(root))
		source := strings.TrimSpace(fmt.Sprintf("source %s %s %s", name, filepath.Base(root), omnictl))
		// From gen 0.8.7 on the search for unknown keys leaves a list to the type that reads it.
		if mod, err := os.ReadFile(filepath.Join(root, "pkg/machinery/go.mod")); err == nil && strings.Contains(string(mod), "siderolabs/gen v0.8.7") {
			source += " lists"
		}
		sources = append(sources, source)
	}
	fmt.Println(header)
	fmt.Println(strings.Join(sources, "\n"))
	print := func(title func(*tree) map[string][]string) {
		all := map[string]*lines{}
		for column, t := range trees {
			for name, texts := range title(t) {
				if all[name] == nil {
					all[name] = &lines{}
				}
				for _, text := range texts {
					all[name].add(text, column, len(trees))
				}
			}
		}
		keys := make([]string, 0, len(all))
		for key := range all {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			if strings.HasPrefix(key, "struct ") {
				fmt.Println(key)
			}
			order := all[key].order
			sort.SliceStable(order, func(i, j int) bool { return strings.Fields(order[i])[0] < strings.Fields(order[j])[0] })
			for _, text := range order {
				if strings.HasPrefix(key, "struct ") {
					fmt.Println(" " + text + ranges(all[key].have[text], names))
				} else {
					fmt.Println(key + " " + text + ranges(all[key].have[text], names))
				}
			}
		}
	}
	print(func(t *tree) map[string][]string {
		out := map[string][]string{}
		for kind, line := range t.docs {
			out["document "+kind] = []string{line}
		}
		return out
	})
	print(func(t *tree) map[string][]string { return map[string][]string{"exclusive": t.sets} })
	print(func(t *tree) map[string][]string {
		out := map[string][]string{}
		for name, values := range t.enums {
			out["enum "+name] = []string{values}
		}
		return out
	})
	// Whether a field is required or deprecated is said once, by the newest column that has it.
	marks := map[string]string{}
	for _, t := range trees {
		for name, fields := range t.structs {
			for _, f := range fields {
				mark := ""
				if f.required {
					mark += " required"
				}
				if f.old {
					mark += " deprecated"
				}
				marks[name+"."+f.key] = mark
			}
		}
	}
	print(func(t *tree) map[string][]string {
		out := map[string][]string{}
		delete(t.structs, "meta.Meta")
		for name, fields := range t.structs {
			var texts []string
			for _, f := range fields {
				texts = append(texts, f.key+" "+f.typ+marks[name+"."+f.key])
			}
			out["struct "+name] = texts
		}
		return out
	})
}

const header = `# Talos's configuration documents as omnictl and Talos decode them. Written by .ci/talos-config.go; do not edit.
# source COLUMN TREE [omnictl=MINOR+…] [lists]: the columns in order; COLUMN is the minor of Talos, or a pre-release that omnictl has;
# lists: an argument (arg) may be a list
# document KIND STRUCT   exclusive KIND|… (of one name)   enum NAME VALUE|…   struct NAME, then KEY TYPE [required] [deprecated]
# [] is a list, {} a mapping with any keys. @FROM-TO are the columns that have the line; without it all do.`
