/** Times as they are shown: ISO 8601 in UTC, with milliseconds only where there are some. */
export function time(epochMilliseconds: unknown): string {
  return new Date(Number(epochMilliseconds)).toISOString().replace('.000Z', 'Z')
}
