@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.compose.foundation.layout

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.unit.Dp

interface PaddingValues

interface ColumnScope

interface RowScope

class Arrangement private constructor() {
    interface Horizontal
    interface Vertical
    interface HorizontalOrVertical : Horizontal, Vertical

    companion object {
        val Start: Horizontal get() = TODO()
        val Top: Vertical get() = TODO()
        fun spacedBy(space: Dp): HorizontalOrVertical = TODO()
    }
}

@Composable
inline fun Column(
    modifier: Modifier = Modifier,
    verticalArrangement: Arrangement.Vertical = Arrangement.Top,
    content: @Composable ColumnScope.() -> Unit,
): Unit = TODO()

@Composable
inline fun Row(
    modifier: Modifier = Modifier,
    horizontalArrangement: Arrangement.Horizontal = Arrangement.Start,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

fun Modifier.aspectRatio(ratio: Float, matchHeightConstraintsFirst: Boolean = false): Modifier = TODO()

fun Modifier.fillMaxSize(fraction: Float = 1f): Modifier = TODO()

fun Modifier.fillMaxWidth(fraction: Float = 1f): Modifier = TODO()

fun Modifier.height(height: Dp): Modifier = TODO()

fun Modifier.padding(paddingValues: PaddingValues): Modifier = TODO()

fun Modifier.padding(horizontal: Dp, vertical: Dp = TODO()): Modifier = TODO()
