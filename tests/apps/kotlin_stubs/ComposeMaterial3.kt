@file:Suppress("unused", "UNUSED_PARAMETER")

package androidx.compose.material3

import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.text.TextStyle

class ColorScheme(val primary: Color, val error: Color)

class Typography(val titleLarge: TextStyle, val bodySmall: TextStyle)

object MaterialTheme {
    val colorScheme: ColorScheme
        @Composable get() = TODO()
    val typography: Typography
        @Composable get() = TODO()
}

@Composable
fun MaterialTheme(content: @Composable () -> Unit): Unit = TODO()

@Composable
fun Text(text: String, modifier: Modifier = Modifier, color: Color = Color.Unspecified, style: TextStyle = TextStyle()): Unit = TODO()

@Composable
fun Button(
    onClick: () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
    content: @Composable RowScope.() -> Unit,
): Unit = TODO()

@Composable
fun CircularProgressIndicator(modifier: Modifier = Modifier): Unit = TODO()

@Composable
fun LinearProgressIndicator(progress: () -> Float, modifier: Modifier = Modifier): Unit = TODO()

@Composable
fun OutlinedTextField(
    value: String,
    onValueChange: (String) -> Unit,
    modifier: Modifier = Modifier,
    label: @Composable (() -> Unit)? = null,
): Unit = TODO()

@Composable
fun Scaffold(
    modifier: Modifier = Modifier,
    bottomBar: @Composable () -> Unit = {},
    content: @Composable (PaddingValues) -> Unit,
): Unit = TODO()

@Composable
fun NavigationBar(modifier: Modifier = Modifier, content: @Composable RowScope.() -> Unit): Unit = TODO()

@Composable
fun RowScope.NavigationBarItem(
    selected: Boolean,
    onClick: () -> Unit,
    icon: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    label: @Composable (() -> Unit)? = null,
): Unit = TODO()
