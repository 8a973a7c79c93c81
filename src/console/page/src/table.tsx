// A table of which only the rows in sight are in the document, so that 10,000 of them scroll as ten do. Arrow keys
// move in it, Enter opens a row; it can be searched, put in order by each column, and taken along as CSV or JSON.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { csv, save } from "./files";

export interface Column<Row> {
  /** Its heading. */
  title: string;
  /** Its share of the width, as a grid's track. */
  width: string;
  /** Left out where the page is narrow. */
  wide?: boolean;
  /** What it says: searched, ordered and exported. */
  value: (row: Row) => string | number;
  /** How that is shown; the value itself where it is not said. */
  cell?: (row: Row) => ComponentChildren;
}

interface Props<Row> {
  /** What it is called, and the name of exported files. */
  name: string;
  columns: Column<Row>[];
  rows: Row[];
  id: (row: Row) => string;
  open?: (row: Row) => void;
  /** What stands there when there is no row at all. */
  nothing: ComponentChildren;
  /** More filters, beside the search. */
  children?: ComponentChildren;
}

/** Pixels of a row; style.css has the same. */
const ROW = 40;
/** Rows beyond the edges, so that quick scrolling shows no gap. */
const MARGIN = 12;

interface Order {
  column: number;
  down: boolean;
}

function arranged<Row>(rows: Row[], columns: Column<Row>[], words: string, order: Order | null): Row[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row: Row) => {
    // Numbers are times and counts, which nobody searches for by their digits.
    const texts = columns.map((column) => column.value(row)).filter((value) => typeof value === "string");
    const text = texts.join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  };
  const found = wanted.length > 0 ? rows.filter(fits) : rows.slice();
  const column = order && columns[order.column];
  if (!order || !column) return found;
  const sign = order.down ? -1 : 1;
  return found.sort((one, other) => {
    const [a, b] = [column.value(one), column.value(other)];
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    return sign * String(a).localeCompare(String(b));
  });
}

export function Table<Row>(props: Props<Row>): JSX.Element {
  const { name, columns, rows, id, open } = props;
  const [words, setWords] = useState("");
  const [order, setOrder] = useState<Order | null>(null);
  const [here, setHere] = useState<string | null>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const frame = useRef<HTMLDivElement>(null);
  const found = useMemo(() => arranged(rows, columns, words, order), [rows, columns, words, order]);
  const at = here === null ? -1 : found.findIndex((row) => id(row) === here);

  useLayoutEffect(() => {
    const element = frame.current;
    if (!element) return;
    const measure = new ResizeObserver(() => setHeight(element.clientHeight));
    measure.observe(element);
    return () => measure.disconnect();
  }, []);

  // The row that keys have moved to is brought into sight.
  useEffect(() => {
    const element = frame.current;
    if (!element || at < 0) return;
    const head = ROW;
    if (at * ROW < element.scrollTop) element.scrollTop = at * ROW;
    if ((at + 1) * ROW > element.scrollTop + element.clientHeight - head) {
      element.scrollTop = (at + 1) * ROW - element.clientHeight + head;
    }
  }, [here]);

  const move = (to: number) => {
    const row = found[Math.max(0, Math.min(found.length - 1, to))];
    if (row !== undefined) setHere(id(row));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget) return;
    const page = Math.max(1, Math.floor(height / ROW) - 2);
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: at + page,
      PageUp: Math.max(0, at - page),
      Home: 0,
      End: found.length - 1,
    };
    const to = moves[event.key];
    const row = found[at];
    if (to !== undefined) move(to);
    else if ((event.key === "Enter" || event.key === " ") && row !== undefined) open?.(row);
    else return;
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(top / ROW) - MARGIN);
  const last = Math.min(found.length, Math.ceil((top + height) / ROW) + MARGIN);
  const tracks = { "--wide": columns.map((column) => column.width).join(" ") };
  const narrow = columns
    .filter((column) => !column.wide)
    .map((column) => column.width.replace(/minmax\([\d.]+rem/, "minmax(0"));
  const style = { ...tracks, "--narrow": narrow.join(" ") } as Record<string, string>;
  const rowId = (row: Row) => `${name}-${id(row)}`;
  const where = at >= first && at < last ? found[at] : undefined;

  return (
    <section class="table" aria-label={name}>
      <div class="tools">
        <input
          type="search"
          placeholder={`Search ${name}`}
          aria-label={`Search ${name}`}
          value={words}
          onInput={(event) => setWords(event.currentTarget.value)}
        />
        {props.children}
        <span class="count" role="status">
          {found.length === rows.length ? `${rows.length}` : `${found.length} of ${rows.length}`}
        </span>
        <button type="button" onClick={() => save(`${name}.csv`, "text/csv", csv(columns, found))}>
          CSV
        </button>
        <button
          type="button"
          onClick={() => save(`${name}.json`, "application/json", `${JSON.stringify(found, null, 2)}\n`)}
        >
          JSON
        </button>
      </div>
      <div
        class="grid"
        role="grid"
        aria-label={name}
        aria-rowcount={found.length + 1}
        aria-activedescendant={where === undefined ? undefined : rowId(where)}
        tabIndex={0}
        ref={frame}
        style={style}
        onKeyDown={onKeyDown}
        onFocus={(event) => {
          if (event.target === event.currentTarget && at < 0) move(first);
        }}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      >
        <div role="rowgroup" class="head">
          <div role="row" class="row" aria-rowindex={1}>
            {columns.map((column, index) => {
              const is = order?.column === index ? (order.down ? "descending" : "ascending") : "none";
              return (
                <div role="columnheader" key={column.title} class={column.wide ? "wide" : ""} aria-sort={is}>
                  <button
                    type="button"
                    onClick={() => setOrder({ column: index, down: is === "ascending" })}
                  >
                    {column.title}
                    <span aria-hidden="true">{is === "ascending" ? " ▲" : is === "descending" ? " ▼" : ""}</span>
                  </button>
                </div>
              );
            })}
          </div>
        </div>
        {found.length > 0 ? (
          <div role="rowgroup" class="body" style={{ height: `${found.length * ROW}px` }}>
            {found.slice(first, last).map((row, index) => (
              <div
                role="row"
                key={id(row)}
                id={rowId(row)}
                class={open ? "row opens" : "row"}
                aria-rowindex={first + index + 2}
                aria-selected={id(row) === here}
                style={{ transform: `translateY(${(first + index) * ROW}px)` }}
                onClick={() => {
                  setHere(id(row));
                  open?.(row);
                }}
              >
                {columns.map((column) => (
                  <div role="gridcell" key={column.title} class={column.wide ? "wide" : ""}>
                    {column.cell ? column.cell(row) : column.value(row)}
                  </div>
                ))}
              </div>
            ))}
          </div>
        ) : (
          <div role="rowgroup">
            <div role="row" class="nothing">
              <div role="gridcell">
                {rows.length > 0 ? "Nothing here fits the search and the filters." : props.nothing}
              </div>
            </div>
          </div>
        )}
      </div>
    </section>
  );
}
