/** Rows as a table of text. */

/** Columns as wide as their widest cell; `right` names those whose cells stand at the right. */
export function table(rows: readonly (readonly string[])[], right: (column: number) => boolean = () => false): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const cell = (text: string, column: number) =>
    right(column) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0)
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n')
}
