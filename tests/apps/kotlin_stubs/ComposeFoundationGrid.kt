@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.compose.foundation.lazy.grid

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier

interface LazyGridItemScope

interface LazyGridScope

interface GridCells {
    class Fixed(count: Int) : GridCells
}

@Composable
fun LazyVerticalGrid(columns: GridCells, modifier: Modifier = Modifier, content: LazyGridScope.() -> Unit): Unit = TODO()

inline fun <T> LazyGridScope.items(
    items: List<T>,
    noinline key: ((item: T) -> Any)? = null,
    crossinline itemContent: @Composable LazyGridItemScope.(item: T) -> Unit,
): Unit = TODO()
