// Files that a reader takes along, made in the browser out of what is shown.

interface Named<Row> {
  title: string;
  value: (row: Row) => string | number;
}

/** RFC 4180. Texts that a spreadsheet would run as a formula get an apostrophe in front. */
export function csv<Row>(columns: Named<Row>[], rows: Row[]): string {
  const field = (value: string | number) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map((column) => field(column.value(row))).join(","));
  return [columns.map((column) => field(column.title)).join(","), ...lines, ""].join("\r\n");
}

/** Hands a file to the reader. */
export function save(name: string, type: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
